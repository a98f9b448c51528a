"""The same runs on two Envoys, without running anything."""

import pytest

from envoyassert.compare.profile import Profile, profile_of
from envoyassert.compare.runs import (
    RunPair,
    RunSide,
    answer_words,
    overall,
    runs_lines,
    typical_times,
)
from envoyassert.judge.verdict import Status
from envoyassert.testing import TraceBuilder


def profile(later_ms: int = 0) -> Profile:
    trace = TraceBuilder(2)
    trace.shared_listener("0.0.0.0:80")
    for event in trace.events:
        event.ts_ns += 0 if event.call == "exec" else later_ms * 1_000_000
    return profile_of(trace.build())


def pairs(shifts: list[int]) -> list[RunPair]:
    old = RunSide(profile(), Status.PASS)
    return [
        RunPair(f"run_{number}", old, RunSide(profile(later), Status.PASS))
        for number, later in enumerate(shifts)
    ]


def test_times_over_all_runs_are_medians_and_one_slow_run_is_not_reported():
    assert typical_times(pairs([0, 500, 1])) == ()
    (time,) = typical_times(pairs([40, 500, 30]))
    assert time.words == "first bind 40 ms later"
    lines = runs_lines(pairs([40, 40]), "1.36.4", "1.40.0")
    assert "times, medians of all runs" in lines
    assert lines[-1] == "same: 2 runs on 1.36.4 and on 1.40.0"


@pytest.mark.parametrize(
    "before, after, answer",
    [
        (Status.PASS, Status.PASS, "same"),
        (Status.FAIL, Status.PASS, "different"),
        (Status.PASS, Status.FAIL, "different"),
        (Status.FAIL, Status.FAIL, "different"),
        (Status.INCONCLUSIVE, Status.PASS, "unknown"),
        (Status.INCONCLUSIVE, Status.INCONCLUSIVE, "unknown"),
    ],
)
def test_verdicts_decide_too_where_the_sockets_are_the_same(before, after, answer):
    seen = profile()
    pair = RunPair("run", RunSide(seen, before), RunSide(seen, after))
    assert overall([pair]) == answer


def test_no_runs_at_all_are_not_the_same():
    assert overall([]) == "unknown"
    assert overall([RunPair("run")]) == "unknown"


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([(Status.FAIL, Status.FAIL)] * 3, "same: 3 runs on old and on new; new fails 3 runs"),
        (
            [(Status.PASS, Status.PASS), (Status.INCONCLUSIVE, Status.INCONCLUSIVE)],
            "same: 2 runs on old and on new; new leaves INCONCLUSIVE 1 run",
        ),
        (
            [(Status.PASS, Status.PASS), (Status.PASS, Status.FAIL)],
            "different: 2 runs on old and on new (1 same, 1 different); new fails 1 run",
        ),
        ([(Status.PASS, Status.PASS)] * 2, "same: 2 runs on old and on new"),
    ],
)
def test_last_line_agrees_with_the_rows_and_counts_failures_apart(statuses, words):
    seen = profile()
    pairs = [RunPair("run", RunSide(seen, old), RunSide(seen, new)) for old, new in statuses]
    shown = answer_words(pairs, "old", "new")
    assert shown == words
    assert shown.partition(":")[0] in {pair.result for pair in pairs}
