"""Random losses in traces of a real Envoy, judged by the shipped scenarios, right and wrong."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.selector import Selector
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace

ROOT = Path(__file__).parents[2]
RECORDED = ("reuse_port_on", "reuse_port_off", "istio_sidecar")


def recorded(name: str) -> Trace:
    return read_trace(ROOT / "tests" / "traces" / f"{name}-1.40.0.ndjson")


def expectations(name: str, trace: Trace, port: int | None = None):
    """Return a scenario's expectations for two workers, its listener's port changed if asked."""
    plans = expand(load_scenario(ROOT / "scenarios" / f"{name}.yaml"))
    (plan,) = (plan for plan in plans if plan.concurrency == 2)
    items = plan.in_rundir(trace.header.rundir).expectations
    if port is None:
        return items
    moved = []
    for index, item in items:
        selector = getattr(item, "listener", None)
        if selector is not None and selector.port is not None:
            item = item.model_copy(update={"listener": Selector(port=port)})
        moved.append((index, item))
    return moved


def judged(trace: Trace, items) -> Verdict:
    return judge(trace, items, workers=2)


def without(trace: Trace, lost: set[int]) -> Trace:
    """Return the trace as it is when the ring was full for some events: the counters know."""
    dropped = Counter(trace.events[index].cpu for index in lost)
    counters = tuple(replace(c, dropped=dropped[c.cpu]) for c in trace.end.cpus)
    kept = [event for index, event in enumerate(trace.events) if index not in lost]
    return Trace(trace.header, kept, replace(trace.end, cpus=counters), trace.witness)


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
    right = expectations(name, trace)
    # What the other reuse_port scenario says of this trace's listener is wrong in many atoms.
    other = "reuse_port_off" if name == "reuse_port_on" else "reuse_port_on"
    wrong = expectations(other, trace, port=10000 if name == "reuse_port_on" else 15006)
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
