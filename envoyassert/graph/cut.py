"""A part of a run: as it was at the end of one of its phases, or as far as one process made it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.gaps import find_gaps
from envoyassert.graph.model import Call, SocketGraph
from envoyassert.trace import CpuCounters, Phase, Trace


def cut(trace: Trace, phase: Phase) -> Trace:
    """Return what had been observed of a run at the end of one of its phases.

    A trace without losses stays one without losses: its records are numbered again up to the cut,
    since a close is recorded with the time of its entry, and so the last numbers before the cut
    need not be the last ones in time. One with losses keeps its numbers and its counters, so that
    whatever was lost at any time is in doubt at the end of every phase.

    Args:
        trace: the whole trace.
        phase: one of its phases.
    """
    events = [event for event in trace.events if event.ts_ns <= phase.end_ns]
    cpus = trace.end.cpus
    if find_gaps(trace) == ([], []):
        events, cpus = _renumbered(events, cpus)
    header = trace.header
    if phase.listeners is not None:
        header = replace(header, listeners=phase.listeners)
    until = trace.phases[: trace.phases.index(phase) + 1]
    end = replace(trace.end, cpus=cpus, outcome=phase.outcome)
    return Trace(header, events, end, phase.witness, until, trace.symbols)


def _renumbered(
    events: list[Event], cpus: tuple[CpuCounters, ...]
) -> tuple[list[Event], tuple[CpuCounters, ...]]:
    last = dict.fromkeys((entry.cpu for entry in cpus), 0)
    numbers: dict[int, int] = {}
    for event in sorted(events, key=lambda event: event.seq):
        if event.cpu in last:
            last[event.cpu] += 1
            numbers[id(event)] = last[event.cpu]
    renumbered = [numbered(event, numbers.get(id(event), event.seq)) for event in events]
    return renumbered, tuple(CpuCounters(entry.cpu, last[entry.cpu], 0) for entry in cpus)


def numbered(event: Event, seq: int) -> Event:
    """Return an event with another number on its CPU."""
    if event.seq == seq:
        return event
    return Event(
        event.ts_ns,
        event.pid,
        event.tid,
        event.call,
        event.ret,
        event.args,
        event.cpu,
        seq,
        event.fault,
        event.stack,
    )


def focus(trace: Trace, pids: Container[int]) -> SocketGraph:
    """Fold a trace and leave out what other processes did.

    A kernel socket stays if one of these processes holds or held a descriptor of it, whoever made
    it; of its calls, descriptors and registrations those of these processes stay. Its options and
    its address are the socket's own, and its number is the one that it has in the whole graph.

    Args:
        trace: the whole trace; what one process sent, another may have received.
        pids: the processes that count.
    """
    graph = fold(trace)
    graph.threads = {tid: thread for tid, thread in graph.threads.items() if thread.pid in pids}
    for socket in graph.sockets:
        socket.descriptors = [d for d in socket.descriptors if d.pid in pids]
        for descriptor in socket.descriptors:
            descriptor.registrations = [
                one for one in descriptor.registrations if one.added.thread.pid in pids
            ]
        if socket.binds and socket.descriptors and socket.binds[0].thread.pid not in pids:
            received_ns = min(descriptor.opened.ts_ns for descriptor in socket.descriptors)
            socket.handed_over_ns = max(received_ns, socket.binds[0].event.ts_ns)
        for name in ("calls", "binds", "listens", "failed_binds"):
            setattr(socket, name, _made_by(getattr(socket, name), pids))
    graph.calls = {name: _made_by(calls, pids) for name, calls in graph.calls.items()}
    mine = {id(socket) for socket in graph.sockets if socket.descriptors}
    graph.sockets = [socket for socket in graph.sockets if id(socket) in mine]
    graph.candidates = [socket for socket in graph.candidates if id(socket) in mine]
    graph.by_place = {
        place: [socket for socket in sockets if id(socket) in mine]
        for place, sockets in graph.by_place.items()
    }
    graph.registrations = [one for one in graph.registrations if one.added.thread.pid in pids]
    return graph


def _made_by(calls: Iterable[Call], pids: Container[int]) -> list[Call]:
    return [call for call in calls if call.thread.pid in pids]
