"""Baselines of a real Envoy: made, met whatever starts it, and not met after a change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.docker]

BASELINE = ("--baseline", "baselines")
SCENARIO = f"""\
name: pinned
matrix: {{concurrency: [1, 2]}}
envoy:
  version: {VERSION}
  config:
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
    static_resources:
      listeners:
      - name: ingress
        tcp_backlog_size: 64
        address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.echo
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo
steps:
- drain: {{}}
expect:
- process: {{live: true}}
"""


def run(directory: Path, *arguments: str) -> tuple[int, str]:
    """Run the scenarios as on a desk: in CI no update is green."""
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "envoyassert", "run", "scenarios", *arguments],
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_baseline_is_met_until_envoy_does_something_else(tmp_path: Path) -> None:
    scenario = tmp_path / "scenarios" / "pinned.yaml"
    scenario.parent.mkdir()
    scenario.write_text(SCENARIO)
    code, text = run(tmp_path, *BASELINE, "--update-baseline", "--launcher", "process", "-n", "2")
    assert code == 0, text
    stored = tmp_path / "baselines" / "scenarios" / "pinned.baseline.yaml"
    before = stored.read_text()
    assert "  pinned[concurrency=2]:\n" in before
    for launcher in ("process", "docker"):
        code, text = run(tmp_path, *BASELINE, "--launcher", launcher)
        assert code == 0, text
        assert "baselines: 2 same" in text
    scenario.write_text(SCENARIO.replace("tcp_backlog_size: 64", "tcp_backlog_size: 65"))
    code, text = run(tmp_path, *BASELINE, "--launcher", "process", "--once")
    assert code == 1, text
    assert "127.0.0.1:0 (ingress) backlog: expected 64, seen 65 (baseline)" in text
    assert stored.read_text() == before
    code, text = run(tmp_path, *BASELINE, "--update-baseline", "--launcher", "process")
    assert code == 0, text
    assert "baselines updated: 2 changed" in text
    old, new = before.splitlines(), stored.read_text().splitlines()
    changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    assert [[line.strip() for line in pair] for pair in changed] == [
        ["backlog: 64", "backlog: 65"]
    ] * 2


def test_numbers_that_failed_are_rewritten_by_what_envoy_did(tmp_path: Path) -> None:
    scenario = tmp_path / "scenarios" / "pinned.yaml"
    scenario.parent.mkdir()
    expect = "- listener: {name: ingress}  # mine\n  bound: {times: 7}\n  backlog: 1   # small\n"
    scenario.write_text(SCENARIO + expect)
    for more in (("--update", "--yes", "-n", "2"), ()):
        code, text = run(tmp_path, "--launcher", "process", *more)
        assert code == 0, text
    rewritten = expect.replace("times: 7", "times: workers").replace("backlog: 1", "backlog: 64")
    assert scenario.read_text() == SCENARIO + rewritten
