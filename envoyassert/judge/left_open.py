"""What leaves an expectation open that could be judged otherwise, and why.

What an excerpt of a trace does not show; a channel that the trace does not cover; sockets that were
passed on by SCM_RIGHTS to or from a process that is not traced; what was not compared with the
kernel; stacks that are not known.

A process that is not traced may listen, accept, set options or close on a socket that it has, and
nothing would show. So what an expectation says of such a socket is seen for certain or left open,
as after a loss. A process that is traced (the parent of a hot restart) is known, and leaves nothing
open.

A state is judged as the end of a trace of made-up calls (`envoyassert.state`), for of an Envoy that
ran already nothing is known of its start. A word says which of its answers a state can give: those
that are the same whatever calls led there. All others are INCONCLUSIVE, and so is what rests on a
variable, which may stand for one of the calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from envoyassert.events import Event
from envoyassert.excerpt import Excerpt
from envoyassert.graph.model import KernelSocket
from envoyassert.graph.passes import Pass
from envoyassert.judge.context import NOT_KNOWN, Context, StackMatch
from envoyassert.judge.matching import matching
from envoyassert.judge.near import Near, NearListener, OptionsThere
from envoyassert.judge.selection import select
from envoyassert.judge.value_json import to_json
from envoyassert.judge.values import Fact, Quote, Reason, both
from envoyassert.judge.verdict import Check, Finding, Status
from envoyassert.scenario.conditional import AboutListener, Conditional
from envoyassert.scenario.grammar import models_in
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.selector import Selector
from envoyassert.state import is_state, why_unsettled
from envoyassert.trace import Trace
from envoyassert.words.registry import word_named, word_of
from envoyassert.words.word import ListenerWord

_SLOWED = Fact("durations_unobserved")
_STATES = Fact("socket_states_unobserved")
_DURATIONS = frozenset({"lasts", "within"})
_STATE_CALL = "tcp_state"


def as_observed(finding: Finding, item: Conditional, unobserved: Collection[str]) -> Finding:
    """Return a finding as far as the channels of its trace allow it.

    Args:
        finding: as the events show.
        item: the expectation.
        unobserved: the channels that the trace does not cover.
    """
    if not unobserved:
        return finding
    reason = None
    if "durations" in unobserved and _is_duration(finding):
        reason = _SLOWED
    elif "socket_states" in unobserved and _mentions(item.model_dump(), _STATE_CALL):
        reason = _STATES
    return replace(finding, status=Status.INCONCLUSIVE, reason=reason) if reason else finding


def _is_duration(finding: Finding) -> bool:
    word = finding.path[2] if len(finding.path) > 2 else ""
    if word == "always" or (word == "process" and finding.path[-1] == "within"):
        # Under a slow tracer an interruption and a start last longer, never shorter.
        return finding.status is Status.FAIL
    return word == "startup" or finding.path[-1] in _DURATIONS


def _mentions(data: object, value: str) -> bool:
    if isinstance(data, dict):
        return any(_mentions(part, value) for part in data.values())
    if isinstance(data, (list, tuple)):
        return any(_mentions(part, value) for part in data)
    return bool(data == value)


def passed_outside(context: Context, item: Conditional) -> list[tuple[KernelSocket, Pass]]:
    """Return the sockets that an expectation is about and that others have or had, and how.

    A socket that came from outside and of which no address is known may be one of any listener.
    """
    if not context.once(_any_outside, None):
        return []
    candidates = context.graph.candidates
    if word_of(item).sockets == "every":
        meant = [s for s in candidates if s.places or s.listens or s.origin == "scm_rights"]
    else:
        selectors = list(models_in(item, Selector))
        if not selectors:
            return []
        listeners = context.trace.header.listeners
        chosen = [select(one, context.graph, listeners, total=True) for one in selectors]
        meant = [socket for selection in chosen for socket in selection.sockets]
        meant += [s for s in candidates if s.origin == "scm_rights" and not s.places]
    return [
        (socket, handed)
        for socket in dict.fromkeys(meant)
        for handed in socket.passes
        if handed.is_outside
    ]


def _any_outside(context: Context, _: None) -> bool:
    passes = (handed for socket in context.graph.candidates for handed in socket.passes)
    return any(handed.is_outside for handed in passes)


def in_doubt(context: Context, outside: Iterable[tuple[KernelSocket, Pass]]) -> Context:
    """Return a context in which what others may have done is in doubt."""
    reasons = dict.fromkeys(_why_passed(socket, handed) for socket, handed in outside)
    if not reasons or context.doubt:
        return context
    return replace(context, doubt=both(list(reasons)))


def with_passes(finding: Finding, outside: Iterable[tuple[KernelSocket, Pass]]) -> Finding:
    """Return a finding that is left open with the messages that handed its sockets on."""
    events = [event for _, handed in outside if (event := _event_of(handed)) is not None]
    if finding.status is not Status.INCONCLUSIVE or not events:
        return finding
    evidence = [event for event in finding.evidence if all(event is not one for one in events)]
    evidence = sorted([*evidence, *events], key=lambda event: event.ts_ns)
    return replace(finding, evidence=tuple(evidence))


def _event_of(handed: Pass) -> Event | None:
    return handed.sent or handed.received


def _why_passed(socket: KernelSocket, handed: Pass) -> Fact:
    address = None if socket.address is None else str(socket.address)
    if handed.received is not None:
        return Fact("received_from_outside", address=address)
    return Fact("sent_outside", address=address)


def held_back(
    context: Context, item: Conditional, findings: Iterable[Finding]
) -> Iterator[Finding]:
    """Yield findings, with no PASS that rests on what the kernel's account did not settle.

    Args:
        context: the scope in which they were found.
        item: the expectation that they are about.
        findings: what was found.
    """
    reason = _why_unsettled(context, item) if context.uncompared else None
    for finding in findings:
        if reason and finding.status is Status.PASS:
            yield replace(finding, status=Status.INCONCLUSIVE, reason=reason)
        else:
            yield finding


def _why_unsettled(context: Context, item: Conditional) -> Fact | None:
    if word_of(item).sockets == "none":
        return None
    open_ = context.uncompared
    selectors = list(models_in(item, Selector))
    anywhere = any(part.listener is None for part in models_in(item, CallPattern))
    if not selectors or (anywhere and not isinstance(item, AboutListener)):
        return _uncompared(next(iter(open_.values())))
    listeners = context.trace.header.listeners
    for selector in selectors:
        selection = select(selector, context.graph, listeners, total=True)
        failed = [call.descriptor.socket for call in selection.failed if call.descriptor]
        for socket in (*selection.sockets, *failed):
            if socket.number in open_:
                return _uncompared(open_[socket.number])
    return None


def _uncompared(why: Fact) -> Fact:
    return Fact("uncompared", why=why)


def with_stacks(
    context: Context, item: Conditional, findings: Sequence[Finding]
) -> Iterator[Finding]:
    """Say of findings that are INCONCLUSIVE for lack of a stack why; skip those without symbols.

    Args:
        context: the scope in which they were found.
        item: the expectation that they are about.
        findings: all of its findings.
    """
    open_ = any(finding.status is Status.INCONCLUSIVE for finding in findings)
    known = context.doubt or context.untrusted or context.unobserved
    unknown = list(_unknown_stacks(context, item)) if open_ and not known else []
    for finding in findings:
        if not unknown or finding.status is not Status.INCONCLUSIVE:
            yield finding
        elif all(match.skipped for match in unknown):
            yield replace(finding, status=Status.SKIPPED, reason=unknown[0].reason)
        else:
            yield replace(finding, reason=next(m.reason for m in unknown if not m.skipped))


def _unknown_stacks(context: Context, item: Conditional) -> Iterator[StackMatch]:
    """Yield what is not known of the stacks of the calls that an expectation may be about."""
    patterns = [part for part in models_in(item, CallPattern) if part.stack is not None]
    if not patterns:
        return
    among: list[list[Event] | None] = [None]
    if isinstance(item, AboutListener):
        # What it says of calls, it says of those of each of its sockets.
        listeners = context.trace.header.listeners
        sockets = select(item.listener, context.graph, listeners, total=True).sockets
        among = [[call.event for call in socket.calls] for socket in sockets]
    for events in among:
        for pattern in patterns:
            yield from matching(context, pattern, events).unknown


_BEFORE = Fact("history_unobserved")


def as_of_state(context: Context, finding: Finding, item: Conditional, *, joined: bool) -> Finding:
    """Return a finding as far as a state gives it.

    Args:
        context: the trace.
        finding: as the made-up calls show.
        item: the expectation, as written.
        joined: whether a variable had a part in it.
    """
    if not is_state(context.trace.header.unobserved):
        return finding
    reason: Reason | None = finding.reason
    seen, status = finding.seen, finding.status
    answers = () if joined else _answers(finding, item)
    witness = context.trace.witness
    if finding.path[2:3] == ("when",):
        pass  # it is about the version, and not about what was seen
    elif not answers:
        seen, status, reason = NOT_KNOWN, Status.INCONCLUSIVE, _BEFORE
    elif witness is not None and (why := why_unsettled(witness)):
        status, reason = Status.INCONCLUSIVE, Fact("state_unsettled", said=Quote(why))
    elif status is not Status.INCONCLUSIVE and status not in answers:
        status, reason = Status.INCONCLUSIVE, _BEFORE
    # The calls were made up, so they show nothing.
    return replace(
        finding,
        status=status,
        seen=seen,
        reason=reason,
        evidence=(),
        near=_near_of_state(finding) if status is Status.FAIL else (),
        cause=finding.cause if status is Status.FAIL else None,
    )


def _near_of_state(finding: Finding) -> tuple[Near, ...]:
    """Return of what comes closest what is there, and nothing of who did what."""
    there = [
        replace(near, bound_by=()) if isinstance(near, NearListener) else near
        for near in finding.near
    ]
    return tuple(near for near in there if isinstance(near, (NearListener, OptionsThere)))


def as_handed_on(context: Context, finding: Finding, item: Conditional) -> Finding:
    """Return a finding as far as it can be said of a listener that handed sockets on.

    What it did is in part what was done with sockets that are another's now; what it has at the end
    is not.

    Args:
        context: the trace.
        finding: as of the sockets that the listener has.
        item: the expectation.
    """
    listeners = context.trace.header.listeners
    zero = context.once(_on_port_zero, None)
    if not zero or finding.status is Status.INCONCLUSIVE:
        return finding
    meant = [selector for selector in models_in(item, Selector) if selector.name in zero]
    if not meant or not _is_of_the_past(finding, item):
        return finding
    for selector in meant:
        for socket, until_ns in select(selector, context.graph, listeners, total=True).handed_on:
            if context.window is None or context.window.begin_ns <= until_ns:
                reason = Fact("handed_on", listener=selector.name, address=socket.address)
                return replace(
                    finding, status=Status.INCONCLUSIVE, reason=reason, near=(), cause=None
                )
    return finding


def _on_port_zero(context: Context, _: None) -> frozenset[str]:
    """Return the names of the listeners for which the kernel is to choose a port."""
    listeners = context.trace.header.listeners
    return frozenset(one.name for one in listeners if any(a.port == 0 for a in one.addresses))


def _is_of_the_past(finding: Finding, item: Conditional) -> bool:
    """Whether what is found is about more than what the sockets of a listener are at the end."""
    named = word_named(finding.path[2]) if finding.path[2:] else None
    if isinstance(named, ListenerWord) and named.name not in ("sockets", "descriptors"):
        return named.done or named.name == "in_order"
    return finding.status not in _answers(finding, item)


def _answers(finding: Finding, item: Conditional) -> tuple[Status, ...]:
    word = word_of(item)
    place = finding.path[2:]
    named = word_named(place[0]) if place else None
    if isinstance(named, ListenerWord):
        return named.of_state(place[1:], getattr(item, named.name))
    return word.of_state(place[1:], item)


#: Name of the check that a trace is no excerpt.
EXCERPT_CHECK = "not an excerpt"
#: What can be shown by an excerpt.
FAILURES = (Status.FAIL, Status.KNOWN_DEFECT)


def excerpt_check(trace: Trace) -> tuple[Check, ...]:
    """Return the line of the certificate that says so of an excerpt; none for a whole trace."""
    excerpt = trace.header.excerpt
    if excerpt is None:
        return ()
    kept = Fact("excerpt_of", kept=len(trace.events), events=excerpt.events)
    return (Check(EXCERPT_CHECK, False, kept),)


def shown_by(finding: Finding, events: int = 0) -> Excerpt:
    """Return what an excerpt says that shows a finding.

    Args:
        finding: the failure.
        events: how many events the whole trace has.
    """
    wanted, seen = to_json(finding.wanted), to_json(finding.seen)
    return Excerpt(events, finding.path, finding.code, wanted, seen)


def as_excerpt(findings: Iterable[Finding], excerpt: Excerpt | None) -> list[Finding]:
    """Return the findings of an excerpt: all but the one that it shows are INCONCLUSIVE.

    Args:
        findings: as if the trace were whole.
        excerpt: what it shows; None for a whole trace, of which nothing is changed.
    """
    if excerpt is None:
        return list(findings)
    return [
        finding
        if finding.status in FAILURES and excerpt.shows(shown_by(finding))
        else replace(
            finding,
            status=Status.INCONCLUSIVE,
            reason=Fact("excerpt" if excerpt.code else "excerpt_in_words"),
            cause=None,
        )
        for finding in findings
    ]
