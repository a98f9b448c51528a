"""In a time namespace the runner's clocks differ from the kernel's: nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.launch.kernel import Owner

SCENARIO = """\
name: drained
envoy:
  concurrency: 1
  config:
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
    static_resources:
      listeners:
      - name: web
        address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
        filter_chains: [{filters: [{name: echo, typed_config: {
          "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]}]
steps:
- connect: {listener: {name: web}, send: hello}
- drain: {}
expect:
- {attempts: answered, during: connect}
- never: {call: close, listener: {name: web}}
  during: {phase}
"""
SHIFTED = pytest.mark.parametrize("ahead_s", [100_000, -10])


def in_time_namespace(ahead_s: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that sees both clocks of the kernel that much ahead."""
    clocks = (f"--monotonic={ahead_s}", f"--boottime={ahead_s}")
    return subprocess.run(
        ["unshare", "--time", *clocks, "--fork", "--kill-child", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@SHIFTED
@pytest.mark.parametrize("phase, code", [("connect", 0), ("drain", 1)])
def test_calls_are_in_the_phases_in_which_they_were_made(
    tmp_path: Path, ahead_s: int, phase: str, code: int
) -> None:
    scenario = tmp_path / "drained.envoyassert.yaml"
    scenario.write_text(SCENARIO.replace("{phase}", phase), encoding="utf-8")
    command = (sys.executable, "-m", "envoyassert", "run", str(scenario), "--launcher", "process")
    done = in_time_namespace(ahead_s, *command)
    assert done.returncode == code, done.stdout
    assert "INCONCLUSIVE" not in done.stdout


@SHIFTED
def test_a_session_of_another_time_namespace_is_known_to_live(ahead_s: int) -> None:
    ask = f"""if True:
        from envoyassert.launch.kernel import Owner
        print(Owner.parse("{Owner.current()}").is_dead(), Owner.current().start)
    """
    done = in_time_namespace(ahead_s, sys.executable, "-c", ask)
    assert done.returncode == 0, done.stderr
    dead, start = done.stdout.split()
    assert dead == "False"
    # Its own start is the one that other processes see: after this process's, seconds at most.
    assert 0 <= int(start) - Owner.current().start < 3600 * os.sysconf("SC_CLK_TCK")
