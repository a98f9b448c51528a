"""Patterns over single calls: `calls` and `never`.

What is not known of a call's stack makes a match possible, never sure: a frame without a name,
callers further out than those recorded, a stack that was not recorded at all, a direct caller of
the C library that has no frame. A function that was inlined, or that left its frame to another by a
tail call, is not on the stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from envoyassert.addresses import Address
from envoyassert.calls import CALLS, with_effect
from envoyassert.calls.row import Effect
from envoyassert.errors import guarded
from envoyassert.events import Event
from envoyassert.graph.descriptor_tables import succeeded
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.context import EPOLL_UNOBSERVED, NOT_JUDGED, Context, StackMatch, Subject
from envoyassert.judge.interval import Interval
from envoyassert.judge.near import Mismatch, NearCall
from envoyassert.judge.nearest import nearest_call
from envoyassert.judge.roles import matches_role
from envoyassert.judge.selection import parts_of, select
from envoyassert.judge.values import Calls, Fact, Quote, Reason, Topic, fault, role_name
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.pattern import CallPattern, CallSource, StackPattern
from envoyassert.symbols import DEPTH, call_site, is_cut, split_frame, stack_is_own

#: Calls that no connection sees, so that none of them is the framework's own traffic.
NO_TRAFFIC = frozenset(row.name for row in CALLS.values() if row.before_accept)
#: How much work it is to hold a pattern against a call of its name, in looks at an event.
_LOOKS = 6
_EPOLL_CALLS = with_effect(Effect.MAKE_EPOLL, Effect.REGISTER, Effect.WAIT_EPOLL)


class Matched(NamedTuple):
    """The calls that match a pattern.

    Args:
        events: the calls.
        problem: why it cannot be said which are meant, or None.
        unknown: what is not known of the stacks of those that may match.
    """

    events: list[Event]
    problem: Reason | None = None
    unknown: tuple[StackMatch, ...] = ()


def matches_of(
    context: Context,
    word: Literal["calls", "never"],
    index: int,
    pattern: CallPattern,
    why: str | None,
) -> tuple[Subject, Matched | Finding]:
    """Return what an expectation on calls is about, and the calls that match its pattern.

    Args:
        context: what is judged.
        word: which of the two words asks.
        index: the expectation's place in the scenario.
        pattern: the calls.
        why: the expectation's own `why`.

    Returns:
        The subject; the calls, or the finding that it cannot be said which are meant.
    """
    subject = Subject(Topic(word, calls=pattern), ("expect", index, word), why or "")
    matched = matching(context, pattern)
    if matched.problem:
        return subject, unresolved(context, subject, pattern, matched.problem)
    return subject, matched


def possible(context: Context, pattern: CallPattern, found: Sequence[Event]) -> Interval:
    """Return how many events may truly match, given those that were found.

    An argument that is not known may be any.
    """
    sure = [event for event in found if is_sure(context, pattern, event)]
    return context.interval(len(sure), len(found) + len(unread_in(context, pattern)))


def unread_in(context: Context, pattern: CallPattern) -> list[Event]:
    """Return the calls of which an argument that the pattern asks for is not known.

    It could not be read, or the tracer does not record it.
    """
    return [
        event
        for event in (context.calls_named(pattern.calls) if pattern.args else ())
        if any(event.args.get(name, "") is None for name in pattern.args)
    ]


def with_nearest(context: Context, finding: Finding, absent: Sequence[CallPattern]) -> Finding:
    """Add to a finding which calls come closest to those that are not there."""
    if finding.status is Status.PASS:
        return finding
    return guarded(
        lambda: _with_nearest(context, finding, absent),
        lambda said: replace(finding, cause=fault(said)),
    )


def _with_nearest(context: Context, finding: Finding, absent: Sequence[CallPattern]) -> Finding:
    near: list[tuple[Event, NearCall]] = []
    for pattern in absent:
        names = set(pattern.calls)
        hidden = admin_traffic(context)
        close = nearest_call(
            [
                (event, tuple(mismatches(context, pattern, event)))
                for event in context.events
                if event.call in names and not _is_hidden(context, event, hidden)
            ]
        )
        if close is not None:
            near.append(close)
    if not near:
        return finding
    events = (*finding.evidence, *(event for event, _ in near))
    return replace(
        finding,
        near=tuple(call for _, call in near),
        evidence=tuple(sorted(events, key=lambda event: event.ts_ns)),
    )


def is_sure(context: Context, pattern: CallPattern, event: Event) -> bool:
    """Return whether an event that matches does so whatever was lost."""
    if pattern.by == "other" and context.doubt:
        return False  # a worker whose naming was lost looks the same
    if pattern.by == "main" and context.doubt and not context.graph.is_surely_envoy(event.pid):
        return False  # it may be that of a helper
    if pattern.stack is not None and not _from_where(context, pattern, event).holds:
        return False
    call = context.graph.call_of(event)
    if context.doubt and pattern.listener is None and event.call not in NO_TRAFFIC:
        # It may be the framework's own connection to the admin endpoint, of which the accept
        # was lost.
        return (
            call is not None
            and call.certain
            and call.descriptor is not None
            and (call.descriptor.socket.origin != "unknown")
        )
    # The address stands in a bind's own arguments.
    return pattern.listener is None or event.call == "bind" or call is None or call.certain


def matching(
    context: Context, pattern: CallPattern, events: Sequence[Event] | None = None
) -> Matched:
    """Return the events that match a pattern, or why its selector cannot be resolved.

    Connections that the framework made to the admin endpoint are left out, unless the pattern
    names that listener.
    """
    if pattern.stack is not None and pattern.stack.same_as is not None:
        source = context.once(_matching_source, pattern.stack.same_as)
        if source.problem or not source.events:
            return Matched([], source.problem or Fact("no_call_to_compare", stack=pattern.stack))
    names = set(pattern.calls)
    if context.by_listen and not names.isdisjoint(_EPOLL_CALLS):
        return Matched([], EPOLL_UNOBSERVED)
    if events is None:
        found = context.calls_named(names)
    else:
        found = [event for event in events if event.call in names]
    context.work.spend(_LOOKS * len(found))
    if pattern.listener is not None:
        selection = select(
            pattern.listener, context.graph, context.trace.header.listeners, total=True
        )
        if selection.problem:
            return Matched([], selection.problem)
        wanted = selection.members
        found = [event for event in found if id(_socket_of(context, event)) in wanted]
    else:
        hidden = admin_traffic(context)
        found = [event for event in found if not _is_hidden(context, event, hidden)]
    found = [e for e in found if next(mismatches(context, pattern, e), None) is None]
    stacks = [_from_where(context, pattern, event) for event in found if pattern.stack is not None]
    return Matched(found, None, tuple(match for match in stacks if match.holds is None))


def _matching_source(context: Context, source: CallSource) -> Matched:
    return matching(context, CallPattern.model_construct(**dict(source)))


def _call_sites(context: Context, source: CallSource) -> CallSites:
    """Return from where the calls came that `same_as` stands for.

    Whether a call is surely one of them is not known after a loss, but then what is derived of
    them is not certain either.
    """
    sites: dict[str | None, bool] = {}
    for event in context.once(_matching_source, source).events:
        site = call_site(event)
        sites[None if site is None else site[1]] = not context.doubt
    return sites


def _from_where(context: Context, pattern: CallPattern, event: Event) -> StackMatch:
    """Return whether a call came from where its pattern says, which must say it."""
    assert pattern.stack is not None
    source = pattern.stack.same_as
    sites = {} if source is None else context.once(_call_sites, source)
    return match_stack(context, pattern.stack, event, sites)


def _socket_of(context: Context, event: Event) -> KernelSocket | None:
    call = context.graph.call_of(event)
    return None if call is None or call.descriptor is None else call.descriptor.socket


def _is_hidden(context: Context, event: Event, hidden: frozenset[int]) -> bool:
    socket = _socket_of(context, event)
    return socket is not None and id(socket) in hidden and _is_traffic(event, socket.origin)


def admin_sockets(context: Context) -> frozenset[int]:
    """Return `id()` of the sockets that are bound to the admin's address."""
    header = context.trace.header
    return frozenset(
        id(socket)
        for record in header.listeners
        if record.kind == "admin"
        for part in parts_of(record, context.graph, header.listeners)
        for socket in part.sockets
    )


def admin_traffic(context: Context) -> frozenset[int]:
    """Return `id()` of the admin's listening sockets and of the connections accepted on them."""
    return context.once(_admin_traffic, None)


def _admin_traffic(context: Context, _: None) -> frozenset[int]:
    admin = admin_sockets(context)
    return admin | {id(s) for s in context.graph.sockets if id(s.accepted_from) in admin}


def _is_traffic(event: Event, origin: str) -> bool:
    if event.call in NO_TRAFFIC:
        return False
    return origin == "accept" or event.call in ("accept", "accept4")


def mismatches(context: Context, pattern: CallPattern, event: Event) -> Iterator[Mismatch]:
    """Yield each field of a pattern that a call of its name does not match.

    Its listener is not looked at: that is a matter of the socket.
    """
    if pattern.errno is not None and event.errno != pattern.errno:
        yield Mismatch("errno", event.errno, pattern.errno)
    # A result that was not observed is taken as success, as the graph takes it.
    if pattern.succeeds is not None and succeeded(event) is not pattern.succeeds:
        yield Mismatch("succeeds", event.errno, pattern.succeeds)
    if pattern.by is not None:
        thread = context.graph.threads[event.tid]
        if not matches_role(thread, pattern.by):
            yield Mismatch("by", role_name(thread), pattern.by)
    for name, value in pattern.args.items():
        seen = event.args.get(name)
        if not _equal(seen, value):
            yield Mismatch(f"args.{name}", seen, value)
    if pattern.stack is not None:
        match = _from_where(context, pattern, event)
        if match.holds is False and match.mismatch is not None:
            yield match.mismatch


def _equal(seen: object, wanted: object) -> bool:
    if isinstance(seen, Address):
        if isinstance(wanted, dict):
            return all(seen.to_json().get(key) == value for key, value in wanted.items())
        return str(seen) == wanted
    if isinstance(seen, list) and isinstance(wanted, list):
        return sorted(map(str, seen)) == sorted(map(str, wanted))
    return seen == wanted


def unresolved(
    context: Context, subject: Subject, pattern: CallPattern, problem: Reason | None
) -> Finding:
    """Return the finding that it cannot be said which calls are meant."""
    return context.finding(subject, Status.INCONCLUSIVE, Calls(pattern), NOT_JUDGED, reason=problem)


#: What calls main() or the function of a thread, by glibc's and musl's names. A C library without
#: symbols does not name them, and nothing else of it is that far out.
_STARTERS = (
    *("_start", "_start_c", "__libc_start_main", "__libc_start_main_impl"),
    *("__libc_start_call_main", "libc_start_main_stage2", "start", "start_thread"),
    *("clone", "__clone", "clone3", "__clone3"),
)


#: Call sites, and whether each is sure; None for one that is not known.
CallSites = Mapping[str | None, bool]


def match_stack(
    context: Context, pattern: StackPattern, event: Event, others: CallSites
) -> StackMatch:
    """Return whether a call came from where a pattern says.

    Args:
        context: the trace.
        pattern: from where it should come.
        event: the call.
        others: the call sites that `same_as` stands for.
    """
    if not event.stack:
        return StackMatch(None, reason=Fact("stack_unrecorded", call=event.call))
    if not stack_is_own(event):
        return StackMatch(None, reason=Fact("stack_of_earlier_call"))
    if pattern.texts:
        return _named(context, pattern.texts, event)
    site = call_site(event)
    if site is None:
        return StackMatch(None, reason=Fact("stack_without_files", call=event.call))
    build_id, name = site
    if pattern.call_site is not None:
        sites = pattern.sites_of(build_id)
        if not sites:
            return StackMatch(
                None, reason=Fact("build_id_not_listed", build_id=build_id), skipped=True
            )
        return StackMatch(name in sites, Mismatch("call_site", name, tuple(sites)))
    if name in others:
        return (
            StackMatch(True) if others[name] else StackMatch(None, reason=Fact("whose_call_site"))
        )
    if not others or None in others:
        return StackMatch(None, reason=Fact("call_sites_unknown"))
    return StackMatch(False, Mismatch("same_as", name, tuple(map(str, others))))


def _named(context: Context, texts: tuple[str, ...], event: Event) -> StackMatch:
    symbols = context.trace.symbols
    names = symbols.functions_of(event.stack)
    absent = [text for text in texts if not any(text in name for name in names)]
    if not absent:
        return StackMatch(True)
    inner = event.stack
    if not any(text in starter for starter in _STARTERS for text in absent):
        inner = _without_starters(event.stack)
    lacking = [problem for frame in inner if (problem := symbols.problem_of(frame))]
    if lacking:
        return StackMatch(
            None, reason=Fact("symbols_missing", said=Quote(lacking[0])), skipped=True
        )
    if not all(map(symbols.name_of, inner)):
        return StackMatch(None, reason=Fact("frame_without_name", call=event.call))
    if len(event.stack) < 2 or event.stack[1] not in symbols.callees:
        return StackMatch(None, reason=Fact("caller_unknown", call=event.call))
    if is_cut(event):
        return StackMatch(None, reason=Fact("stack_cut", depth=DEPTH))
    return StackMatch(False, Mismatch("stack", tuple(names), absent[0]))


def _without_starters(stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return a stack without the C library's frames at its outer end.

    The C library is the file in which the call itself stands.
    """
    library = split_frame(stack[0])[0]
    end = len(stack)
    while library and end and split_frame(stack[end - 1])[0] == library:
        end -= 1
    return stack[:end] or stack
