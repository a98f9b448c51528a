"""The tutorial, replayed: every command in it, in order, prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"```(yaml|console)\n(.*?)```", re.DOTALL)
# What differs from run to run, or from machine to machine: pytest's own header, moments, durations,
# descriptor numbers, numbers of events, and the width of columns.
_HEADER = re.compile(r"^(platform|benchmark|rootdir|plugins|cachedir)\b.*\n", re.MULTILINE)
_VOLATILE = [
    (re.compile(r"[+]?\d+\.\d+ ?(ms|s)\b"), "TIME"),
    (re.compile(r"\b\d+ events\b"), "N events"),
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
    return [line.strip() for line in text.splitlines() if line.strip()]


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
        environment = {k: v for k, v in os.environ.items() if k not in ("CI", "GITHUB_ACTIONS")}
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
    tools, directory = tmp_path / "tools", tmp_path / "empty"
    tools.mkdir()
    directory.mkdir()
    (tools / "envoyassert").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m envoyassert "$@"\n')
    (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return Shell(directory, tools)


def test_every_command_of_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    shell = make_shell(tmp_path)
    seen, failed = 0, []
    for language, text in _BLOCK.findall(TUTORIAL.read_text()):
        if language == "yaml":
            (shell.directory / "envoy.yaml").write_text(text)
            continue
        for command, shown in steps(text):
            printed = shell(command)
            seen += 1
            if steady(printed) != steady(shown):
                failed.append(f"$ {command}\n{printed}")
    assert failed == []
    assert seen >= 8
