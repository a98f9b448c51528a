"""SIGTERM and SIGHUP: a summary of a session of several processes, exit code 2, nothing left."""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.launch.processes import environment_of
from tests.e2e.launching import NEVER_READY, VERSION, wait_until

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = f"""\
name: {{name}}
timeout: 100s
envoy:
  version: {VERSION}
  deadline: 90s
  env: {{{{TERMINATED_TOKEN: {{token}}}}}}
  config:
    admin:
      address: {{{{socket_address: {{{{address: 127.0.0.1, port_value: 9901}}}}}}}}
    node: {{{{id: node-1, cluster: test}}}}
    static_resources:
      listeners: []
{{more}}expect:
  - process: {{{{live: true}}}}
"""
COMMANDS = {
    "run": ("envoyassert", "run", ".", "--launcher"),
    "pytest": ("pytest", "-v", "--envoyassert-launcher"),
}


def with_token(token: str) -> list[int]:
    """The processes that a scenario's environment marks."""
    mark = f"TERMINATED_TOKEN={token}".encode()
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in pids if mark in environment_of(pid)]


@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
@pytest.mark.parametrize("command", COMMANDS)
def test_sigterm_to_the_controller_ends_the_workers_and_gives_a_summary(
    tmp_path, run_root, monkeypatch, command, launcher
):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "envoyassert.pytest_plugin.plugin,xdist.plugin")
    monkeypatch.delenv("CI", raising=False)
    token = secrets.token_hex(8)
    # Each process has two, of which one is late: none takes the last two of another.
    late = {"late": NEVER_READY, "later": NEVER_READY}
    for name in ("a_quick", *late, "z_quick"):
        more = late.get(name, "")
        text = SCENARIO.format(name=name, more=more, token=token if more else "none")
        (tmp_path / f"{name}.envoyassert.yaml").write_text(text)
    output = tmp_path / "output"
    with output.open("wb") as file:
        session = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[command], launcher, "-n", "2"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert wait_until(
            lambda: "PASS" in output.read_text() and len(with_token(token)) > 1, 60
        ), output.read_text()
        session.send_signal(signal.SIGTERM)
        code = session.wait(30)
    finally:
        session.kill()
        session.wait()
    printed = output.read_text()
    assert code == 2, printed
    assert "! interrupted: ended by SIGTERM !" in printed
    assert "1 run executed: 1 passed" in printed
    assert "; interrupted: 3 runs not executed" in printed
    assert "Traceback" not in printed
    assert with_token(token) == []
    assert not run_root.exists()


def living_in(root: Path) -> list[int]:
    """The processes whose working directory is below a directory."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):
                found += [int(path.name)] * (path / "cwd").readlink().is_relative_to(root)
    return found


def check_validate(tmp_path: Path, open_envoy: Path) -> list[str]:
    """`check --validate` of an Envoy that takes its time for it."""
    slow = open_envoy.with_name("slow")
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *validate*) exec sleep 600;; esac\nexec {open_envoy} "$@"\n'
    )
    slow.chmod(0o755)
    scenario = SCENARIO.format(name="one", more="", token=secrets.token_hex(8))
    scenario = scenario.replace(f"version: {VERSION}", f"binary: {slow}")
    (tmp_path / "one.yaml").write_text(scenario)
    return ["check", "--validate", "one.yaml"]


def plan_transition(tmp_path: Path, _: Path) -> list[str]:
    """`plan --transition`, which starts Envoys."""
    listener = "{name: a, address: {socket_address: {address: 127.0.0.1, port_value: %d}}"
    for name, port in (("old.yaml", 10_000), ("new.yaml", 10_001)):
        listeners = f"[{listener % port}, filter_chains: [{{}}]}}]"
        (tmp_path / name).write_text(f"static_resources: {{listeners: {listeners}}}\n")
    return ["plan", "old.yaml", "new.yaml", "--transition", "all", "--envoy", VERSION]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("words_of", [check_validate, plan_transition])
def test_command_that_starts_an_envoy_is_interrupted(
    tmp_path, run_root, open_envoy, number, words_of
):
    words = words_of(tmp_path, open_envoy)
    with subprocess.Popen(
        [sys.executable, "-m", "envoyassert", *words],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert wait_until(lambda: living_in(run_root) != [] or running.poll() is not None, 60)
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 2, err
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err
    assert living_in(run_root) == []
    assert not run_root.exists()


def test_closed_terminal_leaves_nothing(tmp_path, run_root):
    token = secrets.token_hex(8)
    text = SCENARIO.format(name="late", more=NEVER_READY, token=token)
    (tmp_path / "late.yaml").write_text(text)
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "envoyassert", "run", "late.yaml", "--launcher", "process"]
    running = subprocess.Popen(
        ["setsid", "--ctty", *words], cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    try:
        assert wait_until(lambda: with_token(token) != [], 60)
    finally:
        os.close(master)
    assert running.wait(60) != 0
    assert with_token(token) == []
    assert not run_root.exists()
