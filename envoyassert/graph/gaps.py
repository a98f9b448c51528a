"""Lost records, made visible: every record carries its number among those of its CPU."""

from __future__ import annotations

from collections import defaultdict

from envoyassert.graph.model import Gap
from envoyassert.trace import Trace


def find_gaps(trace: Trace) -> tuple[list[Gap], list[str]]:
    """Find missing and repeated records.

    Returns:
        The gaps in order of their start, and contradictions (a number that came twice, more
        records than were emitted) in words. A trace without counters
        has neither: its incompleteness is declared in the header instead.
    """
    if not trace.end.cpus:
        return [], []
    seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in trace.events:
        seen[event.cpu].append((event.seq, event.ts_ns))
    first_ns = trace.events[0].ts_ns if trace.events else 0
    emitted = {counters.cpu: counters.emitted for counters in trace.end.cpus}
    gaps: list[Gap] = []
    contradictions: list[str] = []
    for cpu in sorted(emitted.keys() | seen.keys()):
        last_seq, last_ns = 0, first_ns
        for seq, ts_ns in sorted(seen[cpu]):
            if seq <= last_seq:
                contradictions.append(f"record {seq} of CPU {cpu} came more than once")
            elif seq > last_seq + 1:
                gaps.append(Gap(cpu, last_ns, ts_ns, seq - last_seq - 1))
            # A close carries the time of its entry, so it may be older than the record before it.
            last_seq, last_ns = seq, max(last_ns, ts_ns)
        expected = emitted.get(cpu, 0)
        if last_seq < expected:
            gaps.append(Gap(cpu, last_ns, None, expected - last_seq))
        elif last_seq > expected:
            contradictions.append(
                f"CPU {cpu} emitted {expected} records, but number {last_seq} was received"
            )
    return sorted(gaps, key=lambda gap: gap.start_ns), contradictions
