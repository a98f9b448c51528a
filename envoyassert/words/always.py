"""States that hold at every instant of a stretch of time: `always`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.durations import parse_duration
from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Duration
from envoyassert.scenario.timing import Moment, State
from envoyassert.words.word import Example, Part, Word

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import KernelSocket
    from envoyassert.judge.context import Context
    from envoyassert.judge.instants import Instant
    from envoyassert.judge.timeline import Spans
    from envoyassert.judge.values import Reason
    from envoyassert.judge.verdict import Finding


class AlwaysExpectation(Conditional):
    """A listener has a state, or has it not, from one instant to another without a break."""

    always: State = Field(description="Which listener, and which state.")
    since: Moment | None = Field(
        None, description="From when; by default from when it first has the state that is wanted."
    )
    until: Moment = Field("end", description="Until when.")
    except_for: Duration | None = Field(
        None, description="All breaks together may last this long; by default there is none."
    )


_NS_PER_S = 1_000_000_000
#: How many breaks are shown with their times.
_SHOWN = 3


def judge_always(context: Context, index: int, expectation: AlwaysExpectation) -> Iterator[Finding]:
    """Judge that a listener has a state, or has it not, without a break."""
    from envoyassert.judge.context import EPOLL_UNOBSERVED, NOT_JUDGED, Subject
    from envoyassert.judge.instants import Instant, one_instant
    from envoyassert.judge.selection import select
    from envoyassert.judge.timeline import spans_of
    from envoyassert.judge.values import Topic

    state = expectation.always
    subject = Subject(
        Topic("listener", listener=state.listener),
        ("expect", index, "always", state.name),
        expectation.why or "",
    )
    expected = _expected(expectation)
    selection = select(state.listener, context.graph, context.trace.header.listeners, total=True)
    spans, unclear = spans_of(context, selection.sockets, state.name, state.by)
    problem: Reason | None = selection.problem or unclear
    if state.name == "served" and context.by_listen:
        problem = problem or EPOLL_UNOBSERVED
    if not state.wanted:
        spans = _complement(spans)
    since, until = expectation.since, expectation.until
    begin, why_begin = one_instant(context, since) if since is not None else (_first(spans), None)
    end, why_end = one_instant(context, until)
    if context.window is not None:
        begin = Instant(context.window.begin_ns, context.window.begin_ns)
        end = Instant(context.window.end_ns, context.window.end_ns)
    problem = problem or why_begin or why_end
    if problem:
        yield context.finding(subject, Status.INCONCLUSIVE, expected, NOT_JUDGED, reason=problem)
        return
    allowed_ns = _allowed_ns(expectation)
    if begin is None or end is None:
        never = begin is None and since is None
        missing = Fact("never_was") if never else Fact("no_such_stretch")
        status = Status.INCONCLUSIVE if context.doubt else Status.FAIL
        yield context.finding(subject, status, expected, missing)
        return
    # Inside the borders for sure, and inside them at all: a reply is between question and answer.
    inner = _broken_ns(spans, begin.high_ns, end.low_ns)
    outer = _broken_ns(spans, begin.low_ns, end.high_ns)
    reason = None
    if begin.low_ns > end.high_ns:
        # The last event may have been lost, and the end been later than it seems.
        status = Status.INCONCLUSIVE if context.doubt else Status.FAIL
        seen = Fact("stretch_reversed")
    elif context.doubt:
        # A close carries the time of its entry: one that was lost may be older than its gap.
        status, seen = Status.INCONCLUSIVE, _seen(outer, begin)
    elif sum(b - a for a, b in inner) > allowed_ns:
        status, seen = Status.FAIL, _seen(inner, begin)
    elif sum(b - a for a, b in outer) <= allowed_ns and begin.high_ns <= end.low_ns:
        status, seen = Status.PASS, _seen(outer, begin)
    else:
        status, seen = Status.INCONCLUSIVE, _seen(outer, begin)
        reason = Fact("reply_inexact")
    yield context.finding(
        subject,
        status,
        expected,
        seen,
        reason=reason,
        evidence=_evidence(selection.sockets, outer),
    )


def _expected(expectation: AlwaysExpectation) -> Fact:
    from envoyassert.judge.values import TimeSpan

    state: State = expectation.always
    spared = None
    if expectation.except_for is not None:
        spared = TimeSpan(_allowed_ns(expectation))
    return Fact(
        "always", state=state.name, wanted=state.wanted, by=state.by or None, except_for=spared
    )


def _allowed_ns(expectation: AlwaysExpectation) -> int:
    if expectation.except_for is None:
        return 0
    return round(parse_duration(expectation.except_for) * _NS_PER_S)


def _complement(spans: Spans) -> Spans:
    """Return when a state does not hold, from the first instant of all."""
    found: Spans = []
    at: int | None = 0
    for begin, end in spans:
        if at is not None and begin > at:
            found.append((at, begin))
        at = end
    if at is not None:
        found.append((at, None))
    return found


def _first(spans: Spans) -> Instant | None:
    from envoyassert.judge.instants import Instant

    return Instant(spans[0][0], spans[0][0]) if spans else None


def _broken_ns(spans: Spans, begin_ns: int, end_ns: int) -> list[tuple[int, int]]:
    from envoyassert.judge.timeline import without

    return without(spans, begin_ns, end_ns) if end_ns > begin_ns else []


def _seen(breaks: list[tuple[int, int]], begin: Instant) -> Fact:
    from envoyassert.judge.values import TimeSpan

    if not breaks:
        return Fact("without_a_break")
    return Fact(
        "broken",
        total=TimeSpan(sum(b - a for a, b in breaks)),
        breaks=tuple((TimeSpan(b - a), TimeSpan(a - begin.low_ns)) for a, b in breaks[:_SHOWN]),
        more=max(0, len(breaks) - _SHOWN),
    )


def _evidence(sockets: tuple[KernelSocket, ...], breaks: list[tuple[int, int]]) -> list[Event]:
    """Return the calls on the listener's sockets at which a break begins or ends."""
    borders = {time for span in breaks for time in span}
    return [
        call.event for socket in sockets for call in socket.calls if call.event.ts_ns in borders
    ]


WORD = Word(
    name="always",
    model=AlwaysExpectation,
    judge=judge_always,
    examples={
        "always": Example(
            "always: {listener: {port: 15006}, served: true}",
            "shared",
            "both_left",
            inside="[{%}]",
            during=True,
        ),
        "since": Example("since: live", "gap_before_live", "gap_after_live"),
        "until": Example("until: live", "gap_after_live", "gap_before_live"),
        "except_for": Example("except_for: 50ms", "short_gap", "long_gap"),
    },
    inside="[{always: {listener: {port: 15006}, served: true}, %}]",
    parts=(
        Part(
            State,
            "`always`",
            "[{always: {%}}]",
            {
                "listener": Example("listener: {port: 15006}, served: true", "shared", "both_left"),
                "served": Example("listener: {port: 15006}, served: true", "shared", "both_left"),
                "listening": Example(
                    "listener: {port: 15006}, listening: false", "never_listens", "shared"
                ),
                "bound": Example("listener: {port: 15006}, bound: true", "shared", "closed"),
                "by": Example(
                    "listener: {port: 15006}, served: true, by: workers",
                    "shared",
                    "one_worker_left",
                ),
            },
        ),
    ),
)
