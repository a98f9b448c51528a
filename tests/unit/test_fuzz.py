"""A small part of `make fuzz`, and that it would notice what it is there for."""

from dataclasses import replace

import pytest

from envoyassert.graph.model import Gap
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.trace import Trace
from tests.fuzz import traces
from tests.fuzz.files import fuzz_files
from tests.fuzz.logs import fuzz_logs
from tests.fuzz.recorded import Items, judged
from tests.fuzz.scenarios import fuzz_scenarios
from tests.fuzz.traces import fuzz_traces


def test_damaged_traces_never_pass_where_the_whole_one_does_not() -> None:
    tally = fuzz_traces(600, "unit")
    assert tally.broken == []
    # What is irrelevant to an answer leaves it, and what is not puts it in doubt.
    for seen in ("delete: PASS -> PASS", "delete: PASS -> INCONCLUSIVE", "delete: FAIL -> FAIL"):
        assert tally.seen[seen] > 0, tally.seen
    assert tally.seen["legal reorder: PASS -> PASS"] > 0
    assert tally.seen["duplicate: PASS -> INCONCLUSIVE"] > 0


def test_damaged_scenario_files_are_refused_or_judged() -> None:
    tally = fuzz_scenarios(300, "unit")
    assert tally.broken == []
    assert tally.seen["scenario: refused"] > 0
    assert sum(tally.seen.values()) > tally.seen["scenario: refused"]


def test_trace_files_with_other_values_are_refused_or_used() -> None:
    tally = fuzz_files(150, "unit")
    assert tally.broken == []
    assert tally.seen["file: refused"] > 0
    assert sum(tally.seen.values()) > tally.seen["file: refused"]


def test_damaged_logs_are_refused_or_read() -> None:
    tally = fuzz_logs(300, "unit")
    assert tally.broken == []
    assert min(tally.seen[f"bpftrace log: {how}"] for how in ("refused", "read")) > 0
    assert min(tally.seen[f"strace log: {how}"] for how in ("problems", "read")) > 0


def test_same_seed_sees_the_same() -> None:
    assert fuzz_traces(50, "again").seen == fuzz_traces(50, "again").seen


def test_judge_that_overlooks_losses_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gaps(_: Trace) -> tuple[list[Gap], list[str]]:
        return [], []

    traces.subjects()  # the truth, before anything is broken
    monkeypatch.setattr("envoyassert.graph.fold.find_gaps", no_gaps)

    def blind(trace: Trace, items: Items) -> Verdict:
        cpus = tuple(replace(c, dropped=0) for c in trace.end.cpus)
        header = replace(trace.header, tracer="")
        return judged(Trace(header, trace.events, replace(trace.end, cpus=cpus)), items)

    monkeypatch.setattr(traces, "judged", blind)
    broken = fuzz_traces(600, "b").broken
    assert any("became PASS" in text for text in broken)
    assert any(f"{Status.PASS} became {Status.FAIL}" in text for text in broken)
