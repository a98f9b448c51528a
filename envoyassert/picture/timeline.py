"""Every call of a trace on the lane of its thread; phases as bands, arrows from bind to serving.

A call is named by its place in the events of the trace: the same number in every picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from envoyassert.calls import CALLS
from envoyassert.calls.row import Effect
from envoyassert.events import Event
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.verdict import Finding, Verdict
from envoyassert.picture.socket_map import process_names, socket_id, thread_id
from envoyassert.report.call import Clock, render_call
from envoyassert.report.story_parts import describe_steps
from envoyassert.trace import Trace

#: Kinds of marks, in the order in which the most important one comes last.
KINDS = (
    *("other", "task", "wait", "close", "option", "connect", "accept"),
    *("socket", "dup", "pass", "bind", "listen", "serve"),
)
_OF_EFFECT = {
    Effect.EXEC: "task",
    Effect.FORK: "task",
    Effect.EXIT: "task",
    Effect.SIGNAL: "task",
    Effect.RENAME_THREAD: "task",
    Effect.MAKE_SOCKET: "socket",
    Effect.MAKE_PAIR: "socket",
    Effect.BIND: "bind",
    Effect.CONNECT: "connect",
    Effect.LISTEN: "listen",
    Effect.ACCEPT: "accept",
    Effect.SET_OPTION: "option",
    Effect.COPY: "dup",
    Effect.CLOSE: "close",
    Effect.CLOSE_RANGE: "close",
    Effect.SEND: "pass",
    Effect.RECEIVE: "pass",
    Effect.WAIT_EPOLL: "wait",
    Effect.MAKE_EPOLL: "wait",
    Effect.REGISTER: "serve",
}


@dataclass(frozen=True)
class Lane:
    """One thread.

    Args:
        id: `t1234`.
        label: `main`, `worker_0`, or its name.
        role: `main`, `worker_0` or `other`.
        process: of which Envoy or process it is, "" where there is one process alone.
        calls: how many calls of it there are.
        begin_ns, end_ns: from when to when it ran; None where that was not seen.
    """

    id: str
    label: str
    role: str
    process: str
    calls: int
    begin_ns: int | None
    end_ns: int | None


@dataclass(frozen=True)
class Band:
    """A phase: start-up, or a step of the scenario.

    Args:
        name: its name.
        kind: the kind of step.
        begin_ns, end_ns: from when to when.
        words: what came of it.
        failed: whether it was not carried out, or not met.
    """

    name: str
    kind: str
    begin_ns: int
    end_ns: int
    words: str
    failed: bool


@dataclass(frozen=True, slots=True)
class CallMark:
    """One call.

    Args:
        index: its place in the events of the trace.
        lane: id of its thread.
        ts_ns: CLOCK_MONOTONIC nanoseconds.
        kind: one of `KINDS`.
        text: as strace prints it.
        failed: whether it failed.
        socket: id of the kernel socket that it is on, "" for none.
        of_listener: whether that is one for clients.
    """

    index: int
    lane: str
    ts_ns: int
    kind: str
    text: str
    failed: bool
    socket: str
    of_listener: bool


@dataclass(frozen=True)
class Arrow:
    """What one call on a socket leads to.

    Args:
        source, target: places of two calls in the events.
        socket: id of the kernel socket.
    """

    source: int
    target: int
    socket: str


@dataclass(frozen=True)
class Timeline:
    """All of it.

    Args:
        lanes: main first, then the workers by number, then the others; per process.
        bands: the phases in order.
        marks: every call, in order of time.
        arrows: from bind to dup to listen to the registration in an epoll, per kernel socket.
        start_ns: zero of the clock: Envoy's first instruction.
        has_times: whether the times are real; those of an imported log are places in it.
        evidence: the places of the calls that show a finding, by its path.
    """

    lanes: tuple[Lane, ...]
    bands: tuple[Band, ...]
    marks: tuple[CallMark, ...]
    arrows: tuple[Arrow, ...]
    start_ns: int
    has_times: bool
    evidence: dict[tuple[str | int, ...], tuple[int, ...]]


def timeline(trace: Trace, graph: SocketGraph, verdict: Verdict | None = None) -> Timeline:
    """Return every call of a trace as a mark.

    Args:
        trace: the trace.
        graph: what it folds into.
        verdict: the judgement of it, if there is one: its findings name the calls that show them.
    """
    clock = Clock(trace)
    listening = {id(socket) for socket in graph.listening() if not socket.is_hot_restart}
    sockets = {id(call.event): socket for socket in graph.sockets for call in socket.calls}
    marks = tuple(_marks(trace.events, sockets, listening))
    places = _Places(trace.events)
    findings = () if verdict is None else verdict.findings
    return Timeline(
        tuple(_lanes(trace, graph)),
        tuple(_bands(trace, clock)),
        marks,
        tuple(arrow for s in graph.listening() for arrow in _arrows(s, places)),
        clock.start_ns,
        "completeness" not in trace.header.unobserved,
        {finding.path: places.of(finding.evidence) for finding in findings},
    )


class _Places:
    """Finds the place of an event; one of a part of the trace may be a copy with another number."""

    def __init__(self, events: list[Event]) -> None:
        self._by_id = {id(event): place for place, event in enumerate(events)}
        self._by_key = {_key(event): place for place, event in enumerate(events)}

    def of(self, events: Iterable[Event]) -> tuple[int, ...]:
        found = (self._by_id.get(id(e), self._by_key.get(_key(e))) for e in events)
        return tuple(place for place in found if place is not None)


def _key(event: Event) -> tuple[int, int, str, int | None]:
    return event.ts_ns, event.tid, event.call, event.ret


def _marks(
    events: list[Event], sockets: dict[int, KernelSocket], listening: set[int]
) -> Iterator[CallMark]:
    for place, event in enumerate(events):
        socket = sockets.get(id(event))
        yield CallMark(
            place,
            thread_id(event.tid),
            event.ts_ns,
            _OF_EFFECT.get(CALLS[event.call].effect, "other"),
            render_call(event),
            event.ret is not None and event.ret < 0,
            "" if socket is None else socket_id(socket),
            socket is not None and id(socket) in listening,
        )


def _lanes(trace: Trace, graph: SocketGraph) -> Iterator[Lane]:
    names = process_names(trace, graph)
    numbers: dict[int, int] = {}
    for event in trace.events:
        numbers[event.tid] = numbers.get(event.tid, 0) + 1
    order = {pid: place for place, pid in enumerate(graph.processes)}

    def rank(tid: int) -> tuple[int, int, int, int]:
        thread = graph.threads.get(tid)
        if thread is None:
            return len(order), 3, 0, tid
        role = thread.role
        kind = 0 if role == "main" else 1 if role.startswith("worker_") else 2
        number = int(role[7:]) if kind == 1 else 0
        return order.get(thread.pid, len(order)), kind, number, tid

    for tid in sorted(numbers.keys() | graph.threads.keys(), key=rank):
        thread = graph.threads.get(tid)
        role = "other" if thread is None else thread.role
        label = role
        if role == "other":
            label = (thread.name if thread is not None else "") or f"thread {tid}"
        yield Lane(
            thread_id(tid),
            label,
            role,
            "" if thread is None else names.get(thread.pid, ""),
            numbers.get(tid, 0),
            None if thread is None else thread.created_ns,
            None if thread is None else thread.exited_ns,
        )


def _bands(trace: Trace, clock: Clock) -> Iterator[Band]:
    for phase, step in zip(trace.phases, describe_steps(trace, clock), strict=True):
        failed = bool(phase.problem or phase.missed)
        words = step["came_of_it"]
        yield Band(phase.name, phase.kind, phase.begin_ns, phase.end_ns, words, failed)


def _arrows(socket: KernelSocket, places: _Places) -> Iterator[Arrow]:
    """Yield bind → dup → listen → registration, as far as the calls are there, in order of time.

    Each call comes from the last one on its descriptor, the one that made a copy from the last one
    on what was copied, the one that received it in another process from the bind.
    """
    if socket.is_hot_restart:
        return
    calls = [(call.event, call.descriptor) for call in (*socket.binds, *socket.listens)]
    for descriptor in socket.descriptors:
        if descriptor.source is not None or descriptor.origin == "scm_rights":
            calls.append((descriptor.opened, descriptor))
        calls += [
            (one.added.event, descriptor) for one in descriptor.registrations if one.asks_for_input
        ]
    last: dict[int, Event] = {}
    for event, held in sorted(calls, key=lambda call: call[0].ts_ns):
        if held is None:
            continue
        before = last.get(id(held))
        if before is None and held.source is not None:
            before = last.get(id(held.source))
        elif before is None and socket.binds and socket.binds[0].event is not event:
            before = socket.binds[0].event
        last[id(held)] = event
        if before is not None and before is not event:
            found = places.of([before, event])
            if len(found) == 2:
                yield Arrow(found[0], found[1], socket_id(socket))


def shown_by(line: Timeline, finding: Finding) -> tuple[int, ...]:
    """Return the places of the calls that show a finding."""
    return line.evidence.get(finding.path, ())
