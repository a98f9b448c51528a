"""A trace as it was at the end of one of its phases."""

from __future__ import annotations

from dataclasses import replace

from envoyassert.events import Event
from envoyassert.graph.gaps import find_gaps
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
