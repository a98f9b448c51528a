"""Every command of every page is run, here or in the test of its page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.package_mirrors import ROOT

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

#: Pages whose commands another test runs, and which one.
ELSEWHERE = {
    "docs/tutorial.md": "test_tutorial.py",
    "docs/live.md": "test_live_page.py",
    "docs/ci.md": "test_ci_recipes.py",
    "docs/bpftrace.md": "test_bpftrace.py",
}
#: Commands that need what is not here, a cluster or a registry, or that change a machine.
NOT_HERE = (
    *("sudo apt-get ", "python3 -m venv ", ".venv/bin/python -m pip ", "pip ", "git "),
    *("kubectl ", "rclone ", "docker push ", "docker run --rm --pid=host "),
)
#: What the first change of a contributor edits; the test of its text looks whether it is there.
EDITS = ("sed -i ", "grep --recursive ")
_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"^[$#] (.*(?:\\\n.*)*)$", re.MULTILINE)
#: What stands in the pages, and what this machine has instead.
STAND_INS = {
    "1.38.3 1.39.3 1.40.0": "1.36.4 1.40.0",
    ".venv/bin/envoyassert": "envoyassert",
    # By a seed, so that each session tries the same.
    "--minutes 10": "--minutes 0.1 --seed 4",
}
#: Exit codes of commands that show a failure or a difference, by how they begin.
CODES = {
    "sudo envoyassert run echo.envoyassert.yaml": 1,
    "envoyassert replay .envoyassert/echo/echo/trace.ndjson": 1,
    # No Envoy that the tests have is bad.
    "sudo envoyassert bisect ": 4,
    # LDS refuses either change.
    "envoyassert plan HEAD~1:envoy.yaml": 3,
    "sudo envoyassert plan envoy.yaml": 3,
    "envoyassert diff old.ndjson new.ndjson": 1,
}
#: Those for which 1 is as right as 0: what they find by chance is no matter of these tests.
MAY_FIND = ("sudo envoyassert explore ",)


class Command(NamedTuple):
    """A command of a page."""

    page: str
    text: str


def commands() -> Iterator[Command]:
    pages = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("contrib/*.md"))
    for path in sorted(pages):
        page = str(path.relative_to(ROOT))
        for block in _CONSOLE.findall(path.read_text("utf-8")):
            for text in _COMMAND.findall(block):
                yield Command(page, re.sub(r"  +#.*$", "", text))


ALL = [command for command in commands() if command.page not in ELSEWHERE]
OF_MAKE = [one for one in ALL if one.text.startswith("make ")]
OURS = [one for one in ALL if re.match(r"(sudo )?(\.venv/bin/)?(envoyassert|pytest|jq) ", one.text)]
TRACES = ROOT / "tests" / "traces"


def test_every_command_is_run_by_a_test() -> None:
    run = (*OF_MAKE, *OURS)
    others = [one for one in ALL if one not in run]
    assert [one for one in others if not one.text.startswith((*NOT_HERE, *EDITS))] == []
    for page, test in ELSEWHERE.items():
        name = page.rpartition("/")[2]
        assert name in (ROOT / "tests" / "e2e" / test).read_text("utf-8")


def test_programs_that_the_commands_need_are_installed_for_the_tests() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (packages,) = re.findall(r"^test: PACKAGES \+= (.*)$", makefile, re.MULTILINE)
    programs = {one.text.removeprefix("sudo ").split(" ")[0] for one in OURS}
    others = {one for one in programs if not one.endswith(("envoyassert", "pytest"))}
    assert others <= set(packages.split())


def test_first_change_of_a_contributor_has_something_to_change() -> None:
    (edit,) = (one.text for one in ALL if one.text.startswith("sed -i "))
    found = re.fullmatch(r"sed -i 's/([^/]+)/[^/]+/' (\S+)", edit)
    assert found is not None
    assert found[1] in (ROOT / found[2]).read_text("utf-8")


@pytest.mark.parametrize("text", sorted({one.text for one in OF_MAKE}))
def test_target_of_make_is_there(text: str) -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", f"{text} --dry-run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def prepare(place: Path) -> None:
    """Put into a directory what the pages take for granted."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (echo,) = re.findall(r"```yaml\n(name: echo\n.*?)```", readme, re.DOTALL)
    (place / "echo.envoyassert.yaml").write_text(echo)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "--quiet"], cwd=place, check=True)
    for config in (CONFIG.replace("port: true", "port: false"), CONFIG):
        (place / "envoy.yaml").write_text(config)
        subprocess.run([*git, "add", "envoy.yaml"], cwd=place, check=True)
        subprocess.run([*git, "commit", "--quiet", "--message=x"], cwd=place, check=True)
    shutil.copy(TRACES / "pairs" / "istio_sidecar_shared-1.40.0.ndjson", place / "old.ndjson")
    shutil.copy(TRACES / "istio_sidecar-1.40.0.ndjson", place / "new.ndjson")
    shutil.copy(TRACES / "witnessed" / "reuse_port_on-1.40.0.ndjson", place / "trace.ndjson")
    for name in ("node-a/web", "node-b/web", "node-b/shop"):
        trace = "old" if name.endswith("shop") else "new"
        (place / "traces" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place / f"{trace}.ndjson", place / "traces" / f"{name}.ndjson")
    (place / "sidecar.yaml").write_text(SIDECAR)
    (place / "pytest.ini").write_text("[pytest]\nenvoyassert_files = scenarios/*.yaml\n")
    (place / "scenarios").mkdir()
    for name in ("reuse_port_on", "udp"):
        shutil.copy(ROOT / "scenarios" / f"{name}.yaml", place / "scenarios")
    (place / "tools").mkdir()
    for tool in ("envoyassert", "pytest"):
        (place / "tools" / tool).symlink_to(Path(sys.executable).with_name(tool))
    (place / "tools" / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (place / "tools" / "sudo").chmod(0o755)


CONFIG = """\
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - name: ingress
    address: {socket_address: {address: 0.0.0.0, port_value: 10000}}
    enable_reuse_port: true
    filter_chains:
    - filters:
      - name: echo
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
"""
SIDECAR = """\
name: sidecar
expect:
  - listener: {port: 15006}
    served_by: workers
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", sorted({one.page for one in OURS}))
def test_commands_of_a_page_do_what_they_should(page: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    hidden = ("CI", "GITHUB_ACTIONS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PATH"] = f"{tmp_path}/tools:{environment['PATH']}"
    failed = []
    for _, text in (one for one in OURS if one.page == page):
        command = text
        for shown, stand_in in STAND_INS.items():
            command = command.replace(shown, stand_in)
        done = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wanted = next((code for begin, code in CODES.items() if text.startswith(begin)), 0)
        found = done.returncode == 1 and text.startswith(MAY_FIND)
        if done.returncode != wanted and not found:
            failed.append(f"$ {command}\n{done.stdout[-2000:]}exit code {done.returncode}")
    assert failed == [], "\n".join(failed)
