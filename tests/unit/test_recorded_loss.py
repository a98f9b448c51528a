"""Random losses in traces of a real Envoy, judged by the shipped scenarios, right and wrong."""

import random
from collections import Counter

import pytest

from envoyassert.graph.fold import fold
from envoyassert.judge.verdict import Status
from envoyassert.trace import Trace
from tests.fuzz.recorded import RECORDED, expectations, judged, recorded, right_and_wrong, without


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_trace_passes_its_scenario(name: str) -> None:
    trace = recorded(name)
    verdict = judged(trace, expectations(name, trace))
    assert verdict.status is Status.PASS
    assert verdict.certificate.whole
    assert trace.witness is not None


@pytest.mark.parametrize("kind", ["burst", "scattered"])
@pytest.mark.parametrize("name", RECORDED)
def test_twenty_random_losses_only_ever_make_answers_inconclusive(name: str, kind: str) -> None:
    trace = recorded(name)
    right, wrong = right_and_wrong(name, trace)
    whole = [judged(trace, items).findings for items in (right, wrong)]
    seen: Counter[tuple[Status, Status]] = Counter()
    chance = random.Random(f"{name} {kind}")
    for _ in range(20):
        count = chance.randint(1, 20)
        start = chance.randrange(len(trace.events) - count)
        everything = range(len(trace.events))
        burst = set(range(start, start + count))
        lost = burst if kind == "burst" else set(chance.sample(everything, count))
        damaged = without(trace, lost)
        for items, before in zip((right, wrong), whole, strict=True):
            after = {f.path: f.status for f in judged(damaged, items).findings}
            for finding in before:
                # A finding may vanish where its socket did; then something else is INCONCLUSIVE.
                status = after.get(finding.path, Status.INCONCLUSIVE)
                seen[finding.status, status] += 1
                assert status in (finding.status, Status.INCONCLUSIVE), (finding, sorted(lost))
        assert judged(damaged, right).status is Status.INCONCLUSIVE
        assert judged(damaged, wrong).status is not Status.PASS
    assert seen[Status.PASS, Status.PASS] > 0
    assert seen[Status.PASS, Status.INCONCLUSIVE] > 0
    if name != "reuse_port_off":
        # There the wrong scenario expects more than there is: whatever was lost could be it.
        assert seen[Status.FAIL, Status.FAIL] > 0


def test_a_loss_the_counters_do_not_admit_is_noticed_by_the_numbers() -> None:
    trace = recorded("reuse_port_off")
    silent = Trace(trace.header, trace.events[:50] + trace.events[51:], trace.end, trace.witness)
    (gap,) = fold(silent).gaps
    assert gap.count == 1
    verdict = judged(silent, expectations("reuse_port_off", silent))
    assert verdict.status is Status.INCONCLUSIVE
