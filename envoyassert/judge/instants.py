"""Instants in a trace as intervals, so that what is not known of them widens them.

An instant lies from `low_ns` to `high_ns`, both included; for a call that was recorded the two are
the same. The first LIVE reply lies between question and answer. A record that was lost is an
instant somewhere in its gap that may be one of those that are asked for, or not: it is not `sure`.
Like counts, comparisons can then only turn from an answer into INCONCLUSIVE by losing events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from envoyassert.events import Event
from envoyassert.frozen import frozen
from envoyassert.judge.context import EPOLL_UNOBSERVED, Context
from envoyassert.judge.matching import (
    NO_TRAFFIC,
    admin_traffic,
    is_sure,
    matching,
    unread_in,
)
from envoyassert.judge.selection import select
from envoyassert.judge.timeline import first_ns, spans_of
from envoyassert.judge.values import (
    Calls,
    Fact,
    Quote,
    Reason,
)
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.timing import CallMoment, Moment, StateMoment
from envoyassert.trace import Outcome

#: Farther than any time of a trace, in ns.
FAR_NS = 1 << 62
#: How much work and room the instant of one call takes, in looks at an event.
_LOOKS = 10


@frozen
class Instant:
    """One instant.

    Args:
        low_ns: not before this, CLOCK_MONOTONIC.
        high_ns: not after this.
        event: the event that shows it, None if none does.
        sure: whether it is one of those that were asked for.
    """

    low_ns: int
    high_ns: int
    event: Event | None = None
    sure: bool = True


ANY_TIME = Instant(-FAR_NS, FAR_NS, sure=False)


@frozen
class Instants:
    """The instants that a moment stands for.

    Args:
        moment: the moment.
        members: the instants, and those that may be.
        problem: why nothing can be said of it, None if nothing hinders.
        leans: whether it relies on the graph, and not on the arguments of single events alone.
        shared: whether it is the same one for every socket and every worker.
        which: `every`, or which one of the members is meant.
        pattern: the pattern of calls that it stands for, if it does.
    """

    moment: Fact | Calls
    members: tuple[Instant, ...] = ()
    problem: Reason | None = None
    leans: bool = False
    shared: bool = False
    which: str = "every"
    pattern: CallPattern | None = None

    @property
    def sure(self) -> list[Instant]:
        """The instants that are surely among those that are asked for."""
        return [member for member in self.members if member.sure]

    def narrowed(self) -> Instants:
        """Return the first or last alone, if that is what is meant."""
        if self.which == "every" or not self.members:
            return self
        found = _first(self.members) if self.which == "first" else _last(self.members)
        return replace(self, members=(found,), which="every")


def instants_of(context: Context, moment: Moment) -> Instants:
    """Resolve a moment of the scenario."""
    if isinstance(moment, str):
        return _NAMED[moment](context)
    if isinstance(moment, StateMoment):
        return _of_state(context, moment)
    return of_calls(context, moment)


def of_calls(
    context: Context,
    pattern: CallPattern,
    events: Sequence[Event] | None = None,
    *,
    of_socket: bool = False,
) -> Instants:
    """Resolve a pattern of calls.

    Args:
        context: the trace.
        pattern: the pattern; a CallMoment may mean only the first or the last.
        events: the calls among which to look; by default all.
        of_socket: whether these are those of one socket, as far as the trace can show.
    """
    which = pattern.which if isinstance(pattern, CallMoment) else "every"
    leans = of_socket or pattern.listener is not None
    found, problem, _ = matching(context, pattern, events)
    context.work.spend(_LOOKS * len(found))
    members = [
        Instant(
            event.ts_ns,
            event.ts_ns,
            event,
            is_sure(context, pattern, event) and not (of_socket and _doubted(context, event)),
        )
        for event in found
    ]
    matched = {id(event) for event in found}
    members += [
        Instant(event.ts_ns, event.ts_ns, event, sure=False)
        for event in unread_in(context, pattern)
        if id(event) not in matched
    ]
    if context.doubt:
        plain = not leans and pattern.by in (None, "main") and NO_TRAFFIC.issuperset(pattern.calls)
        members += context_gaps(context) if plain else [ANY_TIME]
    members.sort(key=lambda member: member.low_ns)
    named = Calls(pattern, which)
    return Instants(named, tuple(members), problem, leans, which=which, pattern=pattern)


def _doubted(context: Context, event: Event) -> bool:
    call = context.graph.call_of(event)
    return call is not None and not call.certain


def context_gaps(context: Context) -> list[Instant]:
    """Return when a lost record may have been made, one instant for each loss.

    Nothing can be said of times where the trace has no counters, and what a CPU lost before its
    first record may be older than the first event of all.
    """
    gaps, events = context.graph.gaps, context.trace.events
    if not gaps or not events:
        return [ANY_TIME]
    first_ns = events[0].ts_ns
    return [
        Instant(
            -FAR_NS if gap.start_ns <= first_ns else gap.start_ns,
            FAR_NS if gap.end_ns is None else gap.end_ns,
            sure=False,
        )
        for gap in gaps
    ]


def _first(members: Iterable[Instant]) -> Instant:
    found = list(members)
    sure = [member for member in found if member.sure]
    low_ns = min(member.low_ns for member in found)
    if not sure:
        return Instant(low_ns, FAR_NS, sure=False)
    best = min(sure, key=lambda member: (member.high_ns, _place(member)))
    return Instant(min(low_ns, best.low_ns), best.high_ns, best.event)


def _last(members: Iterable[Instant]) -> Instant:
    found = list(members)
    sure = [member for member in found if member.sure]
    high_ns = max(member.high_ns for member in found)
    if not sure:
        return Instant(-FAR_NS, high_ns, sure=False)
    best = max(sure, key=lambda member: (member.low_ns, _place(member)))
    return Instant(best.low_ns, max(high_ns, best.high_ns), best.event)


def _place(member: Instant) -> int:
    return member.event.seq if member.event is not None else 0


def _of_start(context: Context) -> Instants:
    moment = Fact("moment_start")
    event = next((event for event in context.trace.events if event.call == "exec"), None)
    if event is None:
        if context.doubt:
            return Instants(moment, (ANY_TIME,), shared=True)
        return Instants(moment, problem=Fact("exec_unobserved"))
    members = [Instant(event.ts_ns, event.ts_ns, event)]
    if context.doubt:
        members += context_gaps(context)
    return Instants(moment, (_first(members),), shared=True)


def _of_live(context: Context) -> Instants:
    moment = Fact("moment_live")
    outcome = context.trace.end.outcome
    if outcome.live_ns is not None and outcome.live_asked_ns is not None:
        asked_ns = max(outcome.live_asked_ns, _accepted_ns(context, outcome))
        return Instants(moment, (Instant(asked_ns, outcome.live_ns),), shared=True)
    if not context.trace.header.launcher:
        return Instants(moment, problem=Fact("live_unknown_in_import"))
    if outcome.live:
        return Instants(moment, problem=Fact("live_unknown"))
    if outcome.live is None and not was_never_live(context, outcome):
        return Instants(moment, problem=not_asked(outcome))
    return Instants(moment, shared=True)  # it never was


def not_asked(outcome: Outcome) -> Fact:
    """Return why an Envoy was not asked whether it is LIVE."""
    return Fact("not_asked", said=Quote(outcome.why_not_asked))


def was_never_live(context: Context, outcome: Outcome) -> bool:
    """Return whether an Envoy has ended without ever having been LIVE, by the trace alone.

    Its main thread becomes LIVE in its event loop, where it waits for events.

    Args:
        context: the trace.
        outcome: what happened to that Envoy.
    """
    if outcome.running or context.doubt or context.by_listen:
        return False
    return not any(
        event.call == "epoll_wait" and event.pid == event.tid for event in context.trace.events
    )


def _accepted_ns(context: Context, outcome: Outcome) -> int:
    """Return when the connection was accepted on which LIVE was said, at the earliest."""
    if context.doubt or outcome.live_asked_ns is None or outcome.live_ns is None:
        return 0
    admin = admin_traffic(context)
    return min(
        (
            socket.born.ts_ns
            for socket in context.graph.sockets
            if id(socket.accepted_from) in admin
            and outcome.live_asked_ns <= socket.born.ts_ns <= outcome.live_ns
        ),
        default=0,
    )


def _of_end(context: Context) -> Instants:
    return Instants(Fact("moment_end"), (Instant(end_ns(context), end_ns(context)),), shared=True)


def end_ns(context: Context) -> int:
    """Return the last instant that the trace covers."""
    if context.trace.phases:
        return context.trace.phases[-1].end_ns
    events, witness = context.trace.events, context.trace.witness
    last_ns = events[-1].ts_ns if events else 0
    return last_ns if witness is None else max(last_ns, witness.ts_ns)


_NAMED = {"start": _of_start, "live": _of_live, "end": _of_end}


def _of_state(context: Context, moment: StateMoment) -> Instants:
    named = Fact(
        "moment_state", listener=moment.listener, becomes=moment.becomes, by=moment.by or None
    )
    selection = select(moment.listener, context.graph, context.trace.header.listeners, total=True)
    problem = selection.problem
    if moment.becomes == "served" and context.by_listen:
        problem = problem or EPOLL_UNOBSERVED
    if problem:
        return Instants(named, problem=problem)
    spans, problem = spans_of(context, selection.sockets, moment.becomes, moment.by)
    begin_ns = first_ns(spans)
    members: tuple[Instant, ...] = ()
    if begin_ns is not None:
        event = next((e for e in context.trace.events if e.ts_ns == begin_ns), None)
        # Whose it is relies on every number; after a loss it may have been earlier or later.
        members = (Instant(begin_ns, begin_ns, event, sure=not context.doubt),)
    if context.doubt:
        members += (ANY_TIME,)
    return Instants(named, members, problem, leans=True, shared=True)


def one_instant(context: Context, moment: Moment) -> tuple[Instant | None, Reason | None]:
    """Return the one instant that a moment stands for, or why it is none."""
    found = instants_of(context, moment)
    if found.problem:
        return None, found.problem
    members = found.narrowed().members
    if not members:
        return None, None
    if len(members) > 1 and not context.doubt:
        return None, Fact("several_instants", moment=found.moment, number=len(members))
    return next((member for member in members if member.sure), members[0]), None
