"""Two runs with steps against each other: each difference at the phase that first shows it."""

from __future__ import annotations

from envoyassert.compare.runs import Seen, differences_of, profiles_of
from envoyassert.judge.verdict import Status
from envoyassert.testing import TraceBuilder
from envoyassert.trace import STARTUP, Outcome, Trace


def run(*, backlog: int = -1, later: int = -1, steps: bool = True) -> Trace:
    """A listener; in a step `change` another one; then the end."""
    trace = TraceBuilder(1)
    trace.shared_listener("0.0.0.0:80", backlog=backlog)
    if steps:
        trace.end_phase(STARTUP, STARTUP)
        trace.shared_listener("0.0.0.0:81", backlog=later)
        trace.end_phase("change")
        trace.end_phase("quit", outcome=Outcome(live=True, exit_code=0))
    return trace.build()


def shown(before: Trace, after: Trace, *statuses: Status) -> list[tuple[str, str]]:
    one, other = statuses or (Status.PASS, Status.PASS)
    sides = Seen(one, profiles_of(before)), Seen(other, profiles_of(after))
    return [(difference.subject, difference.words) for difference in differences_of(*sides)]


def test_same_runs_do_not_differ_in_any_phase():
    assert shown(run(), run()) == []
    assert list(profiles_of(run())) == ["startup", "change", "quit"]
    assert list(profiles_of(run(steps=False))) == [""]


def test_state_at_the_end_of_a_step_that_envoy_notices_later_is_left_to_the_next_step():
    def relieved(*, noticed: bool, last: bool = False) -> Trace:
        trace = TraceBuilder(1)
        (fd,) = trace.shared_listener("0.0.0.0:80")
        trace.end_phase(STARTUP, STARTUP)
        if noticed:
            trace.listen(trace.main, fd, backlog=5)
        trace.end_phase("relief", "replace_file")
        if last:
            return trace.build()
        if not noticed:
            trace.listen(trace.main, fd, backlog=5)
        trace.end_phase("accepting", "wait_for")
        return trace.build()

    assert list(profiles_of(relieved(noticed=True))) == [STARTUP, "accepting"]
    assert shown(relieved(noticed=True), relieved(noticed=False)) == []
    assert shown(relieved(noticed=True, last=True), relieved(noticed=False, last=True))


def test_difference_of_the_start_is_reported_once_though_it_lasts():
    ((subject, words),) = shown(run(), run(backlog=256))
    assert subject.startswith("0.0.0.0:80")
    assert "at the end of" not in subject
    assert words == "backlog of listen() is 256 instead of -1"


def test_difference_of_a_step_is_reported_with_its_phase():
    ((subject, words),) = shown(run(), run(later=256))
    assert subject.startswith("0.0.0.0:81")
    assert subject.endswith(", at the end of change")
    assert words == "backlog of listen() is 256 instead of -1"


def test_verdict_is_reported_once():
    found = shown(run(), run(), Status.PASS, Status.FAIL)
    assert found == [("the run", "the scenario's verdict is FAIL instead of PASS")]
