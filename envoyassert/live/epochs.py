"""Several recordings as one: the Envoys of a hot restart, each recorded by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from envoyassert.events import Event
from envoyassert.trace import CpuCounters

#: More CPUs than a machine has; so many recordings fit into the number of a CPU.
_CPUS = 4096
MOST_EPOCHS = 16

Part = tuple[Sequence[Event], Sequence[CpuCounters]]


def side_by_side(parts: Sequence[Part]) -> tuple[list[Event], tuple[CpuCounters, ...]]:
    """Return the events and the counters of several recordings as those of one.

    Each recording numbers its records on each CPU. So they are kept on CPUs of their own: what one
    of them lost is missing there still, and is lost between the same two of its records.

    Args:
        parts: events and counters of each recording, at most MOST_EPOCHS; the first one keeps the
            numbers of its CPUs.

    Raises:
        ValueError: there are more of them, or the machine has more CPUs.
    """
    events: list[Event] = []
    cpus: list[CpuCounters] = []
    if len(parts) > MOST_EPOCHS or any(one.cpu >= _CPUS for _, own in parts for one in own):
        raise ValueError(f"more than {MOST_EPOCHS} recordings, or {_CPUS} CPUs")
    for number, (own_events, own_cpus) in enumerate(parts):
        first = number * _CPUS
        events += [_on_cpu(event, first + event.cpu) for event in own_events]
        cpus += [replace(one, cpu=first + one.cpu) for one in own_cpus]
    events.sort(key=lambda event: event.ts_ns)
    return events, tuple(cpus)


def _on_cpu(event: Event, cpu: int) -> Event:
    if event.cpu == cpu:
        return event
    return Event(
        *(event.ts_ns, event.pid, event.tid, event.call, event.ret, event.args),
        *(cpu, event.seq, event.fault, event.stack),
    )
