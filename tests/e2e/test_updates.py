"""One file for all versions of Envoy finds what a version fixed, and what none has."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = Path(__file__).parent / "scenarios" / "updates.yaml"


BACKLOG = ("expect", 1, "backlog")
OPEN = ("expect", 3, "sockets", "live")


@pytest.mark.parametrize("version, wrong", [("1.36.4", {BACKLOG, OPEN}), ("1.40.0", {OPEN})])
def test_version_fails_what_it_has_not_fixed(version: str, wrong: set[tuple[object, ...]]) -> None:
    with Probe.load() as probe:
        for plan in expand(load_scenario(SCENARIO), envoys=[parse_envoy_argument(version)]):
            result = run_plan(plan, probe, "process")
            verdict = judge(result.trace, plan.expectations, workers=plan.workers)
            assert verdict.certificate.whole, (plan.id, verdict.certificate.missing)
            failed = {finding.path for finding in verdict.with_status(Status.FAIL)}
            assert failed == wrong, plan.id
            assert not verdict.with_status(Status.INCONCLUSIVE), plan.id
