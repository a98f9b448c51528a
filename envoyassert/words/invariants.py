"""Invariants judged on any trace: each looks for breaks, and says how sure they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Many, choice, one_of
from envoyassert.scenario.invariant import INVARIANTS, InvariantName
from envoyassert.words.word import Example, Word

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import Call, KernelSocket
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.selection import AddressSockets
    from envoyassert.judge.values import (
        ListenerAddress,
        Reason,
        SocketName,
    )
    from envoyassert.judge.verdict import Finding


class InvariantsExpectation(Conditional):
    """What holds for every sound Envoy, whatever its config; [their list](#invariants)."""

    invariants: Annotated[
        Annotated[Literal["all"], Tag("|text")]
        | Annotated[Many[InvariantName], Field(min_length=1), Tag("|list")],
        choice(one_of(("all",)), "`all`, or a list of names of invariants"),
    ] = Field(description="all, or which of them.")

    @property
    def names(self) -> tuple[str, ...]:
        """The invariants that are meant, in the order of the list."""
        return tuple(INVARIANTS) if self.invariants == "all" else tuple(self.invariants)


_NS_PER_S = 1_000_000_000
#: How long a socket may listen before a worker accepts from it, in ns.
_UNSERVED_NS = _NS_PER_S
#: How many breaks are shown.
_SHOWN = 3
#: They act on bind or on what it allows: socket(7), ip(7), ipv6(7).
_BEFORE_BIND = frozenset(
    {"SO_REUSEADDR", "SO_REUSEPORT", "IP_FREEBIND", "IPV6_FREEBIND", "IP_TRANSPARENT"}
    | {"IPV6_TRANSPARENT", "IPV6_V6ONLY"}
)
_NO_CONNECTION = frozenset({"EAGAIN", "ECONNABORTED", "EINTR"})


@dataclass
class _Report:
    """What an invariant found.

    Args:
        noun: on what it was judged.
        looked_at: how many of them there are.
        judged: on how much of it; with 0 the invariant holds for lack of anything that could break.
        breaks: what is wrong, with the events that show it; the flag says whether lost events
            could undo it.
        unknown: why it cannot be judged, or None.
    """

    noun: str = ""
    looked_at: int = 0
    judged: int = 0
    breaks: list[tuple[Fact, list[Event], bool]] = field(default_factory=list)
    unknown: Reason | None = None

    def add(self, wrong: Fact, events: list[Event], *, sure: bool = False) -> None:
        self.breaks.append((wrong, events, sure))

    @property
    def extent(self) -> Fact:
        """On what and on how much of it it was judged."""
        return Fact("looked_at", noun=self.noun, number=self.looked_at)


def judge_invariants(
    context: Context, index: int, expectation: InvariantsExpectation
) -> Iterator[Finding]:
    """Judge each of the named invariants; where there was nothing for any of them, none holds."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.values import Topic

    reports = {name: _JUDGES[name](context) for name in expectation.names}
    if not any((r.judged and not r.unknown) or r.breaks for r in reports.values()):
        for report in reports.values():
            report.unknown = report.unknown or Fact("nothing_to_judge", of=report.extent)
    for name, report in reports.items():
        place = ("expect", index, "invariants", name)
        subject = Subject(Topic("invariant", name), place, expectation.why or "")
        yield _judge(context, subject, report)


def _judge(context: Context, subject: Subject, report: _Report) -> Finding:
    if context.doubt:
        sure = any(is_sure for _, _, is_sure in report.breaks)
        status = Status.FAIL if sure else Status.INCONCLUSIVE
    elif report.breaks:
        status = Status.FAIL
    else:
        status = Status.INCONCLUSIVE if report.unknown else Status.PASS
    breaks = tuple(wrong for wrong, _, _ in report.breaks[:_SHOWN])
    more = max(0, len(report.breaks) - _SHOWN)
    return context.finding(
        subject,
        status,
        Fact("invariant", name=subject.topic.name),
        Fact("breaks", breaks=breaks, more=more) if breaks else Fact("no_break", of=report.extent),
        reason=context.doubt or report.unknown,
        evidence=[event for _, events, _ in report.breaks[:_SHOWN] for event in events],
        cause=Fact("invariant_broke", name=subject.topic.name),
    )


def _end_ns(context: Context) -> int:
    return context.trace.events[-1].ts_ns if context.trace.events else 0


def _listening(context: Context) -> list[KernelSocket]:
    return [socket for socket in context.graph.listening() if socket.type != "SOCK_DGRAM"]


def _parts(context: Context, *kinds: str) -> Iterator[tuple[ListenerAddress, AddressSockets]]:
    """Yield every configured address of these kinds with its sockets."""
    from envoyassert.judge.selection import parts_of
    from envoyassert.judge.values import ListenerAddress

    listeners = context.trace.header.listeners
    for record in listeners:
        for part in parts_of(record, context.graph, listeners) if record.kind in kinds else ():
            yield ListenerAddress(record.name, part.title), part


def _places(
    context: Context, *kinds: str
) -> tuple[list[tuple[ListenerAddress, tuple[KernelSocket, ...]]], Fact | None]:
    """Return the addresses of which it is known which sockets are there; why not all are, or None.

    The sockets are with each.
    """
    parts = list(_parts(context, *kinds))
    problem = next((part.problem for _, part in parts if part.problem), None)
    return [(name, part.sockets) for name, part in parts if not part.problem], problem


def _births(*sockets: KernelSocket) -> list[Event]:
    return [socket.born for socket in sockets]


def _only_listeners(context: Context) -> _Report:
    from envoyassert.judge.context import EPOLL_UNOBSERVED
    from envoyassert.judge.values import socket_name

    # Whose a socket is may be open; that it is of one of them is enough.
    parts = [part for _, part in _parts(context, "static", "lds")]
    configured = {id(s) for part in parts for s in (*part.sockets, *part.possible)}
    registered = {
        registration.descriptor.socket: registration
        for registration in context.graph.registrations
        if registration.asks_for_input
        and any(thread.role.startswith("worker_") for thread in registration.epoll.waiters)
    }
    candidates = set(context.graph.candidates)
    mine = [s for s in registered if s in candidates and _may_listen(s)]
    report = _Report("socket_in_epolls", len(mine), len(mine))
    if context.by_listen:
        report.unknown = EPOLL_UNOBSERVED
    elif not context.trace.header.listeners:
        report.unknown = Fact("listeners_unknown")
    for socket in mine:
        since = registered[socket].added.event
        if not socket.listens and socket.type == "SOCK_STREAM":
            report.add(Fact("in_epoll_never_listened", socket=socket_name(socket)), [since])
        elif id(socket) not in configured and not report.unknown:
            report.add(Fact("of_no_listener", socket=socket_name(socket)), [since])
    return report


def _may_listen(socket: KernelSocket) -> bool:
    """Whether a socket is no client: it was bound or listened, or did neither and is a stream."""
    if any(call.event.call == "connect" for call in socket.calls):
        return False
    if socket.family not in ("AF_INET", "AF_INET6", "AF_UNIX") or socket.origin == "socketpair":
        return False
    return bool(socket.binds or socket.listens) or socket.type == "SOCK_STREAM"


def _no_unserved(context: Context) -> _Report:
    from envoyassert.judge.context import EPOLL_UNOBSERVED
    from envoyassert.judge.timeline import listening_spans, merged, served_spans, without
    from envoyassert.judge.values import TimeSpan, socket_name

    sockets = _listening(context)
    report = _Report("listening_socket", len(sockets), len(sockets))
    if context.by_listen:
        return _Report(unknown=EPOLL_UNOBSERVED)
    live_ns = context.trace.end.outcome.live_asked_ns
    end_ns = _end_ns(context)
    for socket in sockets:
        listening = listening_spans(socket)
        served = merged(span for spans in served_spans([socket]).values() for span in spans)
        for begin, until in listening:
            for start, stop in without(served, begin, end_ns if until is None else until):
                events = [call.event for call in socket.listens]
                long = stop - start > _UNSERVED_NS
                at_end = until is None and stop == end_ns
                if long or (at_end and live_ns is not None and begin < live_ns):
                    lasted = TimeSpan(stop - start)
                    wrong = Fact("unserved_for", what=socket_name(socket), lasted=lasted)
                    report.add(wrong, events)
                elif at_end and not report.unknown:
                    report.unknown = Fact("no_time_to_be_served", what=socket_name(socket))
    return report


def _match_workers(context: Context) -> _Report:
    from envoyassert.judge.context import UNKNOWN_WORKERS
    from envoyassert.judge.target import reuse_port_before_bind

    places, unknown = _places(context, "static", "lds")
    report = _Report("listener_address", len(places), sum(bool(found) for _, found in places))
    report.unknown = unknown
    if context.workers < 1:
        report.unknown = UNKNOWN_WORKERS
        return report
    for name, found in places:
        if any(socket.origin == "scm_rights" for socket in found):
            report.unknown = Fact("sockets_from_elsewhere", what=name)
            continue
        live = [s for s in found if s.is_live and (s.listens or s.type == "SOCK_DGRAM")]
        shared = [s for s in live if not reuse_port_before_bind(s)]
        events = _births(*live)
        if len(live) not in (0, 1, context.workers):
            wrong = Fact(
                "neither_one_nor_all", what=name, number=len(live), workers=context.workers
            )
            report.add(wrong, events)
        elif len(live) > 1 and shared:
            wrong = Fact("without_reuse_port", what=name, number=len(live), without=len(shared))
            report.add(wrong, events)
        elif len(live) == 1 < context.workers and not shared:
            report.add(Fact("one_with_reuse_port", what=name), events)
    return report


def _before_bind(context: Context) -> _Report:
    from envoyassert.judge.values import socket_name

    sockets = [s for s in context.graph.listening() if s.origin == "socket"]
    report = _Report("socket", len(sockets), len(sockets))
    for socket in sockets:
        early = {o.name for o in socket.options if o.phase == "before_bind"}
        late = [o for o in socket.options if o.name in _BEFORE_BIND - early]
        for option in late:
            wrong = Fact("set_after_bind", option=option.name, socket=socket_name(socket))
            report.add(wrong, [option.call.event])
    return report


def _main_only(context: Context) -> _Report:
    from envoyassert.judge.roles import is_surely_other
    from envoyassert.judge.values import thread_name

    calls = _calls(context, "bind", "listen")
    report = _Report("call", len(calls), len(calls))
    numbers = re.match(r"(\d+)\.(\d+)", context.trace.header.envoy.version)
    if numbers and (int(numbers[1]), int(numbers[2])) < (1, 20):
        report.unknown = Fact("workers_listen")
        return report
    for call in calls:
        if call.thread.role != "main":
            who = thread_name(call.thread)
            wrong = Fact("called_by", call=call.event.call, on=_name_of(call), by=who)
            sure = call.certain and is_surely_other(context, call.thread)
            report.add(wrong, [call.event], sure=sure)
    return report


def _calls(context: Context, *names: str) -> list[Call]:
    """Return the calls of these names on sockets that connected to nothing."""
    found: list[Call] = []
    for socket in context.graph.candidates:
        if not any(call.event.call == "connect" for call in socket.calls):
            found += [call for call in socket.calls if call.event.call in names]
    return found


def _name_of(call: Call) -> SocketName | int:
    """Return the socket of a call, or the number of its descriptor if that is of none."""
    from envoyassert.judge.values import socket_name

    return socket_name(call.descriptor.socket) if call.descriptor else int(call.event.args["fd"])


def _accepts(context: Context) -> _Report:
    calls = _calls(context, "accept", "accept4")
    report = _Report("call", len(calls), len(calls))
    if any(call.event.ret is None for call in calls):
        report.unknown = Fact("results_unobserved")
    counts: dict[tuple[str, SocketName | int], list[Event]] = {}
    for call in calls:
        errno = call.event.errno
        if errno and errno not in _NO_CONNECTION:
            counts.setdefault((errno, _name_of(call)), []).append(call.event)
    for (errno, name), events in counts.items():
        wrong = Fact("accept_failed", on=name, errno=errno, times=len(events))
        report.add(wrong, events, sure=True)
    return report


def _without_break(context: Context) -> _Report:
    from envoyassert.judge.context import EPOLL_UNOBSERVED
    from envoyassert.judge.timeline import merged, served_spans, without
    from envoyassert.judge.values import TimeSpan

    report = _Report("listener_address")
    if context.by_listen:
        return _Report(unknown=EPOLL_UNOBSERVED)
    places, report.unknown = _places(context, "static", "lds")
    for name, found in places:
        report.looked_at += 1
        spans = merged(span for spans in served_spans(found).values() for span in spans)
        report.judged += bool(spans)
        if spans and not context.trace.end.outcome.running:
            report.unknown = Fact("ended_nothing_served")
            continue
        for start, stop in without(spans, spans[0][0], _end_ns(context)) if spans else ():
            closes = [e for e in _births(*found) if e.ts_ns <= stop]
            report.add(Fact("unserved_for", what=name, lasted=TimeSpan(stop - start)), closes)
    return report


def _live(context: Context) -> _Report:
    from envoyassert.judge.context import EPOLL_UNOBSERVED
    from envoyassert.judge.timeline import served_spans

    outcome = context.trace.end.outcome
    places, unknown = _places(context, "static")
    report = _Report("static_listener_address", len(places), len(places))
    report.unknown = unknown
    if outcome.live_ns is None:
        ended = Fact("ended_before_live")
        asked = outcome.live is not None and not outcome.running
        report.unknown = ended if asked else Fact("no_live_reply")
        return report
    if context.by_listen:
        report.unknown = EPOLL_UNOBSERVED
        return report
    latest_ns = outcome.live_ns + _UNSERVED_NS
    over = outcome.live or _end_ns(context) > latest_ns
    for name, found in places:
        served = served_spans(found)
        threads = [t for t in served if t.role.startswith("worker_") and served[t]]
        late = [t for t in threads if served[t][0][0] > latest_ns]
        if len(threads) < max(context.workers, 1):
            if over:
                wrong = Fact("live_but_served_by", what=name, workers=len(threads))
                report.add(wrong, _births(*found))
            else:
                report.unknown = Fact("no_time_to_be_served", what=name)
        elif late:
            wrong = Fact("served_late", what=name, workers=len(late))
            report.add(wrong, _births(*found))
    return report


def _bounded(context: Context) -> _Report:
    from envoyassert.judge.context import UNKNOWN_WORKERS
    from envoyassert.judge.values import socket_name

    sockets = list(context.graph.listening())
    report = _Report("socket", len(sockets), len(sockets))
    if context.workers < 1:
        report.unknown = UNKNOWN_WORKERS
        return report
    limit = 2 * context.workers
    for socket in sockets:
        moves = [(d.opened.ts_ns, 1, d.opened) for d in socket.descriptors]
        moves += [(d.closed_ns, -1, d.opened) for d in socket.descriptors if d.closed_ns]
        count = 0
        for _, step, event in sorted(moves, key=lambda move: (move[0], move[1])):
            count += step
            if count == limit + 1 and step > 0:
                wrong = Fact("too_many_descriptors", socket=socket_name(socket), limit=limit)
                report.add(wrong, [event])
    return report


_JUDGES: dict[str, Callable[[Context], _Report]] = {
    "only_listeners_registered": _only_listeners,
    "no_unserved_sockets": _no_unserved,
    "sockets_match_workers": _match_workers,
    "options_before_bind": _before_bind,
    "main_binds_and_listens": _main_only,
    "accepts_succeed": _accepts,
    "served_without_break": _without_break,
    "live_means_served": _live,
    "descriptors_bounded": _bounded,
}


WORD = Word(
    name="invariants",
    model=InvariantsExpectation,
    judge=judge_invariants,
    about="state",
    sockets="every",
    examples={
        "invariants": Example(
            "invariants: [accepts_succeed, live_means_served]", "shared", "out_of_descriptors"
        ),
    },
)
