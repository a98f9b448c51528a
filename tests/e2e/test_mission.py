"""The two sentences that the product was made for, on a real Envoy: each right where the other is
wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = Path(__file__).parent / "scenarios"

#: What fails where the sentence does not hold. With one worker only the option distinguishes them.
WRONG = {
    ("mission", 1): {"listened.via"},
    ("mission", 2): {"bound.times", "listened.via"},
    ("mission", 4): {"bound.times", "listened.via"},
    ("mission_twin", 1): {"listened.via", "options.SO_REUSEPORT"},
    ("mission_twin", 2): {"bound.times", "listened.via", "options.SO_REUSEPORT"},
    ("mission_twin", 4): {"bound.times", "listened.via", "options.SO_REUSEPORT"},
}


@pytest.mark.parametrize("launcher", ["process", pytest.param("docker", marks=pytest.mark.docker)])
@pytest.mark.parametrize("name, reuse_port", [("mission", False), ("mission_twin", True)])
def test_sentence_holds_for_its_own_reuse_port_and_for_no_other(
    probe: Probe, name: str, reuse_port: bool, launcher
) -> None:
    for plan in expand(load_scenario(SCENARIOS / f"{name}.yaml")):
        result = run_plan(plan, probe, launcher)
        verdict = judge(result.trace, result.plan.expectations, workers=plan.workers)
        assert verdict.certificate.whole, (plan.id, verdict.certificate.missing)
        if plan.matrix["enable_reuse_port"] is reuse_port:
            assert verdict.status is Status.PASS, plan.id
        else:
            assert verdict.status is Status.FAIL, plan.id
            failed = {finding.atom for finding in verdict.with_status(Status.FAIL)}
            assert failed == WRONG[name, plan.concurrency], plan.id
