"""A scenario that takes longer than its `timeout` keeps its trace, and says where it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.trace_file import read_trace
from tests.e2e.launching import NEVER_READY, VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

SCENARIO = f"""\
name: {{name}}
timeout: 15s
envoy:
  version: {VERSION}
  deadline: 110s
  config:
    admin:
      address: {{{{socket_address: {{{{address: 127.0.0.1, port_value: 9901}}}}}}}}
    node: {{{{id: node-1, cluster: test}}}}
    static_resources:
      listeners:
      - name: ingress
        address: {{{{socket_address: {{{{address: 127.0.0.1, port_value: 10000}}}}}}}}
        filter_chains: [{{{{}}}}]
{{more}}expect:
  - process: {{{{live: true}}}}
"""
NEVER_OVER = """\
steps:
  - connect: {listener: {name: ingress}}
  - {name: long, deadline: 110s, wait_for: {exit: true}}
"""


def pytest_of(directory: Path, *names: str, method: str) -> subprocess.CompletedProcess[str]:
    for name, more in (("late", NEVER_READY), ("stuck", NEVER_OVER)):
        text = SCENARIO.format(name=name, more=more)
        (directory / f"{name}.envoyassert.yaml").write_text(text)
    words = [sys.executable, "-m", "pytest", *names, f"--timeout-method={method}"]
    return subprocess.run(
        words, cwd=directory, timeout=100, check=False, capture_output=True, text=True
    )


def assert_without_stacks(done: subprocess.CompletedProcess[str]) -> None:
    for word in ("Stack of", "Traceback", 'File "', ".py", "+ Timeout +"):
        assert word not in done.stdout + done.stderr, done.stdout + done.stderr


def test_time_out_by_signal_names_the_phase_and_keeps_what_was_seen_until_then(tmp_path):
    names = ("late.envoyassert.yaml", "stuck.envoyassert.yaml")
    done = pytest_of(tmp_path, *names, method="signal")
    assert done.returncode == 1, done.stdout
    struck = "Timeout (>15.0s) from pytest-timeout: it struck"
    assert f"{struck} in Envoy's start-up\ntrace: .envoyassert/late" in done.stdout
    assert f"{struck} in step 2 of 2, `long`\ntrace: .envoyassert/stuck" in done.stdout
    assert_without_stacks(done)
    late, stuck = (
        read_trace(tmp_path / ".envoyassert" / name / name / "trace.ndjson")
        for name in ("late", "stuck")
    )
    # The main thread has bound its admin's port; a phase shows what ended it.
    assert "bind" in {event.call for event in late.events}
    assert [(phase.name, bool(phase.problem)) for phase in late.phases] == [("startup", True)]
    assert [(phase.name, bool(phase.problem)) for phase in stuck.phases] == [
        ("startup", False),
        ("connect", False),
        ("long", True),
    ]


def test_time_out_by_a_thread_that_ends_pytest_keeps_the_trace_as_well(tmp_path):
    done = pytest_of(tmp_path, "stuck.envoyassert.yaml", method="thread")
    assert done.returncode == 1, done.stdout
    assert "::stuck: Timeout (>15.0s) from pytest-timeout: it struck in step 2 of 2" in done.stdout
    assert_without_stacks(done)
    kept = tmp_path / ".envoyassert" / "stuck" / "stuck"
    assert [phase.name for phase in read_trace(kept / "trace.ndjson").phases][-1] == "long"
    assert "starting main dispatch loop" in (kept / "envoy.log").read_text()
