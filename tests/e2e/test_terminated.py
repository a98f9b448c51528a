"""SIGTERM to a session with several processes: a summary, exit code 2, nothing left."""

from __future__ import annotations

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
    assert "! KeyboardInterrupt: ended by SIGTERM !" in printed
    assert "1 run executed: 1 passed" in printed
    assert "Traceback" not in printed
    assert with_token(token) == []
    assert not run_root.exists()
