"""A ring that is too small for the start of a real Envoy: counted, and never a PASS."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.probe import Probe
from envoyassert.runner import run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.words.never import NeverExpectation

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@pytest.mark.parametrize("ring_pages", [1, 2, 4])
def test_full_ring_is_inconclusive_and_what_was_seen_still_fails(ring_pages: int) -> None:
    plan = max(
        expand(load_scenario(SCENARIOS / "istio_sidecar.yaml")), key=lambda plan: plan.concurrency
    )
    with Probe.load(ring_pages=ring_pages) as probe:
        result = run_plan(plan, probe, "process")
    trace = result.trace
    dropped = sum(counters.dropped for counters in trace.end.cpus)
    emitted = sum(counters.emitted for counters in trace.end.cpus)
    assert dropped > 0
    assert len(trace.events) + dropped == emitted
    verdict = judge(trace, result.plan.expectations, workers=plan.workers)
    assert verdict.status is Status.INCONCLUSIVE
    # What the launcher saw itself is not in doubt, nor is a violation among the received events.
    kept = [f.atom for f in verdict.with_status(Status.PASS)]
    assert kept == ["process.live"]
    never = NeverExpectation.model_validate({"never": {"call": "socket"}})
    assert judge(trace, [(0, never)], workers=plan.workers).status is Status.FAIL
