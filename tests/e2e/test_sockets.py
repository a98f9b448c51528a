"""Sockets that are easily taken for others, of a real Envoy: whose they are, and where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.draft.from_trace import draft_of_trace
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.given import given_differences
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = sorted((Path(__file__).parent / "scenarios" / "sockets").glob("*.yaml"))
VERSIONS = ("1.36.4", "1.40.0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_sockets_are_whose_they_are(probe: Probe, path: Path, version: str) -> None:
    for plan in expand(load_scenario(path)):
        result = run_plan(replace(plan, version=version), probe, "process")
        verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
        assert verdict.status is Status.PASS, (plan.id, verdict)
        assert verdict.certificate.whole, (plan.id, verdict.certificate.missing)
        # A replay reads the scenario again, and knows it again.
        header = result.trace.header
        assert list(given_differences(plan.in_rundir(header.rundir), header)) == [], plan.id


def test_draft_of_an_envoy_with_another_socket_path_has_its_listeners_alone(probe: Probe) -> None:
    (path,) = (path for path in SCENARIOS if path.stem == "other_socket_path")
    (plan,) = expand(load_scenario(path))
    for place in ("@another_name", "${rundir}/another_name"):
        run = replace(plan, args=("--socket-path", place))
        trace = run_plan(run, probe, "process").trace
        assert sum(socket.is_hot_restart for socket in fold(trace).sockets) == 4, place
        assert {one.name for one in draft_of_trace(trace).sets} == {"admin", "web"}
        assert judge(trace, plan.expectations, workers=2).status is Status.PASS, place
