"""An Envoy of which all is known is ended at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.clock import monotonic_ns
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.launch.base import STOP_DEADLINE_S
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

STOPPED = """\
name: stopped
envoy:
  config:
    static_resources:
      listeners:
      - name: ingress
        address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
        enable_reuse_port: false
        filter_chains: [{}]
steps:
- signal: SIGSTOP
expect:
- process: {stays_up: true}
"""


@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_envoy_that_cannot_end_by_itself_holds_up_no_run(probe: Probe, launcher: str) -> None:
    (plan,) = expand(parse_scenario(STOPPED, Path("stopped.yaml")), launchers=[launcher])
    result = run_plan(plan, probe)
    ended_s = monotonic_ns() / 1e9
    assert judge(result.trace, result.plan.expectations, workers=plan.workers).status is Status.PASS
    assert ended_s - result.trace.phases[-1].end_ns / 1e9 < STOP_DEADLINE_S
