"""What a trace does not show: records that were lost, and calls after which it no longer shows all.

Every record carries its number among those of its CPU, so a lost one leaves a gap. A tripwire is a
call that acts on descriptors where no probe looks, or lets a call seem to be what it is not.
"""

from __future__ import annotations

from collections import defaultdict

from envoyassert.calls import CALLS
from envoyassert.calls.row import Hides
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.graph.model import Gap
from envoyassert.trace import Trace

#: CPU of a gap that the counters do not place.
EVERY_CPU = -1


def find_gaps(trace: Trace) -> tuple[list[Gap], list[Fact]]:
    """Find missing and repeated records.

    Returns:
        The gaps in order of their start, and contradictions (a number that came twice, more
        records than were emitted, times that run backwards or are not of the run) in words. A trace
        without counters has no gaps: its incompleteness is declared in the header instead. One
        whose probe was skipped, whose ring was not read to its end or whose target was not seen
        from its exec lacks records that have no number: that is one gap from the start to the end.
    """
    events, end = trace.events, trace.end
    contradictions: list[Fact] = []
    times = [event.ts_ns for event in events]
    if times != sorted(times):
        contradictions.append(Fact("times_out_of_order"))
    contradictions += _outside(trace)
    if not end.cpus:
        return [], contradictions
    seen: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        seen[event.cpu].append(event)
    first_ns = events[0].ts_ns if events else 0
    counters = {entry.cpu: entry for entry in end.cpus}
    gaps: list[Gap] = []
    if end.misses or not end.drained or not end.marked:
        gaps.append(Gap(EVERY_CPU, first_ns, None, 0))
    for cpu in sorted(counters.keys() | seen.keys()):
        emitted, dropped = (
            (counters[cpu].emitted, counters[cpu].dropped) if cpu in counters else (0, 0)
        )
        found, problems = _gaps_of_cpu(cpu, seen[cpu], emitted, first_ns)
        gaps += found
        contradictions += problems
        missing = sum(gap.count for gap in found)
        if dropped > missing:
            contradictions.append(
                Fact("too_few_missing", cpu=cpu, dropped=dropped, missing=missing)
            )
    return sorted(gaps, key=lambda gap: gap.start_ns), contradictions


def _outside(trace: Trace) -> list[Fact]:
    """Return that an event is older or newer than the run, if one is."""
    events = trace.events
    began_ns, ended_ns = trace.header.began_ns, trace.end.ended_ns
    if events and began_ns and events[0].ts_ns < began_ns:
        return [Fact("older_than_run", ns=began_ns - events[0].ts_ns)]
    if events and ended_ns and events[-1].ts_ns > ended_ns:
        return [Fact("newer_than_run", ns=events[-1].ts_ns - ended_ns)]
    return []


def _gaps_of_cpu(
    cpu: int, events: list[Event], emitted: int, first_ns: int
) -> tuple[list[Gap], list[Fact]]:
    # Not by all numbers up to what was emitted: a file may claim any.
    if len(events) == emitted:
        numbers = [event.seq for event in events]
        wanted = range(1, emitted + 1)
        # They are in order most often, which is faster to see.
        if numbers == list(wanted) or set(numbers) == set(wanted):
            return [], []
    gaps: list[Gap] = []
    contradictions: list[Fact] = []
    last_seq, last_ns = 0, first_ns
    # A close carries the time of its entry, so it may be older than the record before it: the
    # losses end with the first record after them that carries the time of its return.
    missing, since_ns = 0, first_ns
    for event in sorted(events, key=lambda event: event.seq):
        if event.seq <= last_seq:
            contradictions.append(Fact("record_again", seq=event.seq, cpu=cpu))
        elif event.seq > last_seq + 1:
            if not missing:
                since_ns = last_ns
            missing += event.seq - last_seq - 1
        if missing and event.call != "close":
            gaps.append(Gap(cpu, since_ns, event.ts_ns, missing))
            missing = 0
        last_seq, last_ns = event.seq, max(last_ns, event.ts_ns)
    if last_seq < emitted:
        if not missing:
            since_ns = last_ns
        missing += emitted - last_seq
    elif last_seq > emitted:
        contradictions.append(Fact("too_many_records", cpu=cpu, emitted=emitted, seq=last_seq))
    if missing:
        gaps.append(Gap(cpu, since_ns, None, missing))
    return gaps, contradictions


def why_tripwire(event: Event) -> Hides:
    """Return why a trace does not show all after a tripwire; "" for any other event."""
    hides = CALLS[event.call].hides
    return hides(event) if hides is not None else ""
