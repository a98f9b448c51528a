"""The tutorial, replayed: every command in it, in order, prints what the page shows.

As a reader has it: in an empty directory, with what the wheel installs and nothing of the checkout.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from pathlib import Path

import pytest

from tests.e2e.package_mirrors import ROOT, install_wheel

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow, pytest.mark.timeout(300)]

TUTORIAL = ROOT / "docs" / "tutorial.md"
_BLOCK = re.compile(r"```(yaml|console)\n(.*?)```", re.DOTALL)
# What differs from run to run, or from machine to machine: pytest's own header, moments, durations,
# descriptor numbers, numbers of events and calls, and the width of columns.
_HEADER = re.compile(r"^(platform|benchmark|rootdir|plugins|cachedir)\b.*\n", re.MULTILINE)
_VOLATILE = [
    # pytest adds hours and minutes to a minute and more.
    (re.compile(r"[+]?\d+\.\d+ ?(ms|s)\b( \(\d+:\d+:\d+\))?"), "TIME"),
    (re.compile(r"\b\d+ (events|calls|socket descriptors)\b"), r"N \1"),
    (re.compile(r"^( *TIME +\w+) +\d+ ", re.MULTILINE), r"\1 FD "),
    (re.compile(r"(bind|ADD|epoll_ctl)(\(|, )\d+, "), r"\1\2FD, "),
    (re.compile(r" +"), " "),
    (re.compile(r"[=_]{3,}"), "="),
]


def steps(text: str) -> list[tuple[str, str]]:
    """Return each command of a block of the console with the output that is shown below it."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


def steady(text: str) -> list[str]:
    """Return the lines of what was printed, without what is volatile."""
    for pattern, stand_in in _VOLATILE:
        text = pattern.sub(stand_in, text)
    lines = (line.strip() for line in text.splitlines() if line.strip())
    # Workers start at once: which of them comes first differs from run to run.
    by_worker = groupby(lines, lambda line: line.startswith("TIME worker_"))
    return [line for mixed, some in by_worker for line in (sorted(some) if mixed else some)]


@dataclass(frozen=True)
class Shell:
    """A shell in an empty directory; root needs no sudo.

    Args:
        directory: the empty directory.
        tools: where `envoyassert` and `sudo` are.
    """

    directory: Path
    tools: Path

    def __call__(self, command: str) -> str:
        """Run a command; return all that it prints."""
        hidden = ("CI", "GITHUB_ACTIONS", "PYTHONPATH")  # the last would lead to the checkout
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        environment |= {"COLUMNS": "80", "PATH": f"{self.tools}:{environment['PATH']}"}
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return _HEADER.sub("", done.stdout)


def make_shell(tmp_path: Path) -> Shell:
    tools, directory = install_wheel(tmp_path), tmp_path / "empty"
    directory.mkdir()
    sudo = tools / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    return Shell(directory, tools)


def test_every_command_of_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    shell = make_shell(tmp_path)
    where = shell("python -c 'import envoyassert; print(envoyassert.__file__)'")
    assert Path(where.strip()).is_relative_to(tmp_path), where
    seen, failed = 0, []
    for language, text in _BLOCK.findall(TUTORIAL.read_text()):
        if language == "yaml":
            (shell.directory / "envoy.yaml").write_text(text)
            continue
        for command, shown in steps(text):
            printed = shell(command)
            seen += 1
            if steady(printed) != steady(shown):
                changed = unified_diff(
                    steady(shown), steady(printed), "shown", "printed", lineterm=""
                )
                failed.append("\n".join([f"$ {command}", *changed]))
    assert failed == [], "\n".join(failed)
    assert seen >= 8
