"""Order and durations of instants: what `in_order`, `moment` and `between` are judged by.

Instants are known as intervals, and so is the answer to which of two came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from envoyassert.durations import parse_duration
from envoyassert.events import Event
from envoyassert.judge.context import NOT_JUDGED, UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.each import Name, absent_groups
from envoyassert.judge.instants import ANY_TIME, FAR_NS, Instant, Instants, of_calls
from envoyassert.judge.matching import with_nearest
from envoyassert.judge.values import Fact, TimeSpan, Value, role_name, socket_name
from envoyassert.judge.verdict import Finding, Status, worst
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.timing import Each, Lasts

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


_NS_PER_S = 1_000_000_000


def judge_order_on_socket(
    context: Context, subject: Subject, steps: Sequence[str | CallPattern], events: Sequence[Event]
) -> Finding:
    """Judge the order of the calls of one socket.

    Args:
        context: the trace.
        subject: what and where.
        steps: names of calls, or patterns.
        events: the calls of the socket, as far as the trace can show.
    """
    # Its name is checked already: to check again takes a validator, and that takes time to make.
    patterns = [
        CallPattern.model_construct(call=step) if isinstance(step, str) else step for step in steps
    ]
    found = [of_calls(context, pattern, events, of_socket=True) for pattern in patterns]
    return judge_sequence(context, subject, found)


def judge_lasting(
    context: Context,
    subject: Subject,
    wanted: Fact,
    pair: tuple[Instants, Instants],
    each: Each | None,
    lasts: Lasts,
) -> Finding:
    """Judge how long it takes from one moment to another."""
    low, high = bounds_ns(lasts)
    return judge_pair(context, subject, wanted, pair, each, lambda a, b: lasting(a, b, low, high))


def judge_sequence(context: Context, subject: Subject, steps: Sequence[Instants]) -> Finding:
    """Judge that moments come in an order."""
    wanted = Fact("order", moments=tuple(step.moment for step in steps))
    problem = next((step.problem for step in steps if step.problem), None)
    if problem:
        return context.finding(subject, Status.INCONCLUSIVE, wanted, NOT_JUDGED, reason=problem)
    answer = precedes([step.narrowed() for step in steps])
    return _finding(context, subject, wanted, answer, steps)


def _finding(
    context: Context, subject: Subject, wanted: Fact, answer: Answer, moments: Sequence[Instants]
) -> Finding:
    found = context.finding(
        subject,
        answer.status,
        wanted,
        answer.seen,
        reason=answer.reason,
        evidence=answer.evidence,
        from_events=answer.plain and not any(moment.leans for moment in moments),
    )
    absent = [moment.pattern for moment in moments if moment.pattern and not moment.sure]
    return with_nearest(context, found, absent)


def judge_pair(
    context: Context,
    subject: Subject,
    wanted: Fact,
    pair: tuple[Instants, Instants],
    each: Each | None,
    judge: Callable[[Instants, Instants], Answer],
) -> Finding:
    """Judge two moments against each other, for each socket or worker by itself if asked."""
    problem = pair[0].problem or pair[1].problem
    if each is not None:
        wanted = Fact("for_each", each=each, wanted=wanted)
        if each == "worker" and context.workers < 1:
            problem = problem or UNKNOWN_WORKERS
    if problem:
        return context.finding(subject, Status.INCONCLUSIVE, wanted, NOT_JUDGED, reason=problem)
    if each is None:
        answer = judge(pair[0].narrowed(), pair[1].narrowed())
        return _finding(context, subject, wanted, answer, pair)
    groups = _groups_of(context, pair, each)
    answers = [
        (name, judge(begin.narrowed(), end.narrowed())) for name, (begin, end) in groups.items()
    ]
    return _finding(context, subject, wanted, _for_each(context, each, answers), pair)


def _for_each(context: Context, each: Each, answers: list[tuple[Name, Answer]]) -> Answer:
    """Return the worst answer of all groups, with the first group that gave it."""
    present = len(answers)
    absent = absent_groups(context, each, present)
    if absent is not None:
        return Answer(*absent)
    status = worst([answer.status for _, answer in answers])
    if context.doubt and status is Status.PASS:
        status = Status.INCONCLUSIVE
    shown = [(name, answer) for name, answer in answers if answer.status is status] or answers
    name, answer = shown[0]
    seen: Value = Fact("of_group", group=name, seen=answer.seen, deciding=len(shown), total=present)
    return replace(answer, status=status, seen=seen, plain=False)


def _groups_of(
    context: Context, pair: tuple[Instants, Instants], each: Each
) -> dict[Name, tuple[Instants, Instants]]:
    """Return both moments for each socket or each worker, by its name.

    A group has what is its own, what has no owner, and what may be its own after a loss.
    """
    keys: dict[int, Name] = {}
    if each == "worker":
        keys = {thread.tid: role_name(thread) for thread in context.worker_threads}
    owner = _worker_of if each == "worker" else _socket_of
    parts: list[dict[int, list[Instant]]] = []
    for moment in pair:
        part: dict[int, list[Instant]] = {}
        for member in moment.members:
            found = None if member.event is None else owner(context, member.event)
            if found is None or moment.shared:
                continue
            key, name, certain = found
            if name is not None:
                keys.setdefault(key, name)
            if key in keys:
                kept = member if certain else replace(member, sure=False)
                part.setdefault(key, []).append(kept)
        parts.append(part)
    groups = {}
    for key, name in keys.items():
        begin, end = (
            _part(moment, part.get(key, []), bool(context.doubt))
            for moment, part in zip(pair, parts, strict=True)
        )
        groups[name] = (begin, end)
    return groups


def _part(moment: Instants, members: list[Instant], doubt: bool) -> Instants:
    if moment.shared:
        return moment
    return replace(moment, members=(*members, ANY_TIME) if doubt else tuple(members))


def _worker_of(_: Context, event: Event) -> tuple[int, Name | None, bool] | None:
    return event.tid, None, True


def _socket_of(context: Context, event: Event) -> tuple[int, Name | None, bool] | None:
    call = context.graph.call_of(event)
    if call is None or call.descriptor is None:
        return None
    socket = call.descriptor.socket
    return socket.number, socket_name(socket), call.certain


def to_ns(duration: float | str) -> int:
    """Return a duration of a scenario in ns."""
    return round(parse_duration(duration) * _NS_PER_S)


def bounds_ns(lasts: Lasts) -> tuple[int, int | None]:
    """Return the shortest and longest duration that is no fault, in ns; None without limit."""
    slack = 0 if lasts.tolerance is None else to_ns(lasts.tolerance)
    low = 0 if lasts.at_least is None else max(0, to_ns(lasts.at_least) - slack)
    return low, None if lasts.at_most is None else to_ns(lasts.at_most) + slack


def wanted_span(lasts: Lasts) -> Fact:
    """Return how long something may take, as the value of a finding."""
    parts = {
        name: TimeSpan(to_ns(value))
        for name in ("at_least", "at_most", "tolerance")
        if (value := getattr(lasts, name)) is not None
    }
    return Fact("lasts", **parts)
