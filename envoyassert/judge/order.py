"""Order and durations of instants: what `in_order`, `moment` and `between` are judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from envoyassert.durations import parse_duration
from envoyassert.events import Event
from envoyassert.judge.context import NOT_JUDGED, UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.each import Name, absent_groups
from envoyassert.judge.instants import ANY_TIME, Instant, Instants, of_calls
from envoyassert.judge.matching import with_nearest
from envoyassert.judge.precedence import Answer, lasting, precedes
from envoyassert.judge.values import (
    Fact,
    TimeSpan,
    Value,
    role_name,
    socket_name,
)
from envoyassert.judge.verdict import Finding, Status, worst
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.timing import Each, Lasts

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
    patterns = [CallPattern(call=step) if isinstance(step, str) else step for step in steps]
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
    call = context.calls_by_event.get(id(event))
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
