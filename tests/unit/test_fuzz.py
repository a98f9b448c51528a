"""A small part of `make fuzz`, and that it would notice what it is there for."""

from __future__ import annotations

import itertools
import math
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from envoyassert.graph.model import Gap
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.trace import Trace
from tests.fuzz import limits, traces
from tests.fuzz.case import REFUSED, Case, Tally, run_cases
from tests.fuzz.kinds import KINDS
from tests.fuzz.logs import BPFTRACE
from tests.fuzz.recorded import Items, judged


def run(kind: str, count: int, seed: str = "unit") -> Tally:
    """Run cases of a kind, some of which are refused, and others not."""
    tally = run_cases(KINDS[kind], count, seed)
    assert tally.cases == count
    return tally


def test_damaged_traces_never_pass_where_the_whole_one_does_not() -> None:
    tally = run("traces", 300)
    assert tally.broken == []
    # What is irrelevant to an answer leaves it, and what is not puts it in doubt.
    for seen in ("delete: PASS -> PASS", "delete: PASS -> INCONCLUSIVE", "delete: FAIL -> FAIL"):
        assert tally.seen[seen] > 0, tally.seen
    assert tally.seen["legal reorder: PASS -> PASS"] > 0
    assert tally.seen["duplicate: PASS -> INCONCLUSIVE"] > 0


def test_changed_scenario_files_are_refused_or_judged() -> None:
    tally = run("scenarios", 200)
    assert tally.broken == []
    assert 0 < tally.seen[REFUSED] < tally.cases
    assert any(" -> " in seen for seen in tally.seen)


def test_trace_files_with_other_values_are_refused_or_used() -> None:
    tally = run("files", 200)
    assert tally.broken == []
    assert 0 < tally.seen[REFUSED] < tally.cases


def test_damaged_logs_are_refused_or_read() -> None:
    tally = run("logs", 300)
    assert tally.broken == []
    for name in BPFTRACE:
        assert min(tally.seen[f"bpftrace log {name}: {how}"] for how in ("refused", "read")) > 0
    assert min(tally.seen[f"strace log: {how}"] for how in ("problems", "read")) > 0


def test_changed_dumps_are_refused_or_drafted() -> None:
    tally = run("dumps", 250)
    assert tally.broken == []
    assert min(tally.seen[REFUSED], tally.seen["drafted"]) > 0


def test_changed_replies_of_an_admin_endpoint_are_refused_or_used() -> None:
    tally = run("replies", 250)
    assert tally.broken == []
    assert min(tally.seen[REFUSED], tally.seen["used"]) > 0


def test_same_seed_sees_the_same_and_parts_of_a_campaign_add_up() -> None:
    whole = run_cases(KINDS["traces"], 40, "again")
    parts = run_cases(KINDS["traces"], 15, "again")
    parts.add(run_cases(KINDS["traces"], 25, "again", 15))
    assert (parts.cases, parts.seen) == (40, whole.seen)


@pytest.mark.parametrize("kind", ["scenarios", "dumps", "replies", "files", "logs"])
def test_case_is_the_same_alone_and_after_others(kind: str) -> None:
    together = run_cases(KINDS[kind], 15, "again").seen
    alone = Tally()
    for number in reversed(range(15)):
        alone.add(run_cases(KINDS[kind], 1, "again", number))
    assert alone.seen == together


def test_exception_hang_and_memory_of_a_case_are_rules_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MOST_S", 1.5)
    monkeypatch.setattr("tests.fuzz.case.MOST_KB", 20_000)

    numbers = itertools.count()

    def odd(_case: Case) -> str:
        number = next(numbers)
        if number == 1:
            raise ValueError("an internal error")
        while number == 2:
            math.sqrt(2)
        if number == 3:
            # What counts is by how much the most that this process ever had grows.
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
            assert len(bytearray(most - pages * resource.getpagesize() + 60_000_000)) > 0
        return "used"

    tally = run_cases(odd, 5, "unit")
    fault, hang, memory = tally.broken
    # The first call is not counted: it reads and builds what all have in common.
    assert fault.startswith("case 0: ValueError: an internal error at test_fuzz.py:")
    assert hang.startswith("case 1: TooLongError: more than 1.5 s of processor time at ")
    assert memory.startswith("case 2: ")
    assert memory.endswith("MiB more memory")


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
    broken = run("traces", 300, "c").broken
    assert any("became PASS" in text for text in broken)
    assert any(f"{Status.PASS} became {Status.FAIL}" in text for text in broken)
