"""Comparing instants that are known only as intervals: order, and durations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from envoyassert.events import Event
from envoyassert.judge.instants import FAR_NS, Instant, Instants
from envoyassert.judge.values import Fact, TimeSpan, Value
from envoyassert.judge.verdict import Status

#: Longer than any trace: a side of it is not known.
_UNKNOWN_NS = FAR_NS // 2


@dataclass(frozen=True)
class Answer:
    """What a comparison of instants came to; `plain` if single events show the violation."""

    status: Status
    seen: Value
    evidence: tuple[Event, ...] = ()
    reason: Fact | None = None
    plain: bool = False


def precedes(steps: Sequence[Instants]) -> Answer:
    """Return whether every instant of each step precedes every instant of the next.

    Calls that different CPUs recorded at the same nanosecond have no order that anybody knows.
    """
    open_question = None
    for before, after in pairwise(steps):
        late = _sure_violation(before, after)
        if late:
            return Answer(
                Status.FAIL,
                Fact("came_before", first=after.moment, second=before.moment),
                _events(late),
                plain=True,
            )
        open_question = open_question or _unsettled(before, after)
    missing = tuple(step.moment for step in steps if not step.sure)
    shown = _events(m for step in steps for m in (step.sure[:1] + step.sure[1:][-1:]))
    if missing:
        status = Status.INCONCLUSIVE if _may_be(steps) else Status.FAIL
        return Answer(status, Fact("no_moment", missing=missing), shown)
    if open_question:
        seen = Fact("at_once") if open_question == _TIED else Fact("in_order", sure=False)
        return Answer(Status.INCONCLUSIVE, seen, shown, open_question)
    return Answer(Status.PASS, Fact("in_order", sure=True), shown)


def lasting(begin: Instants, end: Instants, low_ns: int, high_ns: int | None) -> Answer:
    """Return whether it takes from `low_ns` to `high_ns` from every begin to every end."""
    if not begin.sure or not end.sure:
        missing = tuple(one.moment for one in (begin, end) if not one.sure)
        status = Status.INCONCLUSIVE if _may_be((begin, end)) else Status.FAIL
        return Answer(status, Fact("no_moment", missing=missing))
    shortest, longest = _durations(begin.sure, end.sure)
    shown = _events((begin.sure[0], begin.sure[-1], end.sure[0], end.sure[-1]))
    seen = _lasted(begin.sure, end.sure)
    if shortest[1] < low_ns or (high_ns is not None and longest[0] > high_ns):
        return Answer(Status.FAIL, seen, shown, plain=True)
    least, most = _durations(begin.members, end.members)
    if least[0] >= low_ns and (high_ns is None or most[1] <= high_ns):
        return Answer(Status.PASS, seen, shown)
    reason = None if _may_be((begin, end)) else _INEXACT
    return Answer(Status.INCONCLUSIVE, seen, shown, reason)


_TIED = Fact("recorded_at_once")
_INEXACT = Fact("reply_inexact")


def _durations(
    begin: Sequence[Instant], end: Sequence[Instant]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the shortest and the longest time between any two, each as (at least, at most)."""
    shortest = (
        min(e.low_ns for e in end) - max(b.high_ns for b in begin),
        min(e.high_ns for e in end) - max(b.low_ns for b in begin),
    )
    longest = (
        max(e.low_ns for e in end) - min(b.high_ns for b in begin),
        max(e.high_ns for e in end) - min(b.low_ns for b in begin),
    )
    return shortest, longest


def _lasted(begin: Sequence[Instant], end: Sequence[Instant]) -> Fact:
    shortest, longest = _durations(begin, end)
    if abs(shortest[0]) > _UNKNOWN_NS or abs(longest[1]) > _UNKNOWN_NS:
        return Fact("lasted")
    return Fact("lasted", low=TimeSpan(shortest[0]), high=TimeSpan(longest[1]))


def _may_be(steps: Iterable[Instants]) -> bool:
    return any(not member.sure for step in steps for member in step.members)


def _sure_violation(before: Instants, after: Instants) -> list[Instant]:
    """Return instants that are surely in the wrong order, none if there are none."""
    if not before.sure or not after.sure:
        return []
    first = min(after.sure, key=lambda member: member.high_ns)
    late = [member for member in before.sure if member.low_ns > first.high_ns]
    if late:
        return [first, *late]
    ties = _ties(before.sure, after.sure)
    return next(([b, a] for a, b in ties if _order(a, b) is False), [])


def _ties(before: Sequence[Instant], after: Sequence[Instant]) -> Iterator[tuple[Instant, Instant]]:
    """Yield pairs of recorded calls at the same nanosecond that decide the order."""
    last_ns = max(member.high_ns for member in before)
    first_ns = min(member.low_ns for member in after)
    if last_ns != first_ns:
        return
    yield from (
        (a, b) for a in before if a.high_ns == last_ns for b in after if b.low_ns == first_ns
    )


def _order(a: Instant, b: Instant) -> bool | None:
    """Return whether `a` precedes `b` at the same nanosecond, None if no one knows."""
    if a.event is None or b.event is None:
        return None
    if a.event is b.event:
        return False
    # The records of one CPU are numbered in their order.
    return a.event.seq < b.event.seq if a.event.cpu == b.event.cpu else None


def _unsettled(before: Instants, after: Instants) -> Fact | None:
    """Return why the order of two steps is not known, None if it is."""
    if not before.members or not after.members:
        return None
    last_ns = max(member.high_ns for member in before.members)
    first_ns = min(member.low_ns for member in after.members)
    if last_ns < first_ns:
        return None
    if last_ns == first_ns and all(
        _order(a, b) is True for a, b in _ties(before.members, after.members)
    ):
        return None
    if _may_be((before, after)):
        return Fact("maybe_out_of_order")
    return _TIED if last_ns == first_ns else _INEXACT


def _events(members: Iterable[Instant]) -> tuple[Event, ...]:
    found = {id(m.event): m.event for m in members if m.event is not None}
    return tuple(found.values())
