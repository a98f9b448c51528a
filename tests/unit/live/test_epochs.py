"""Several recordings as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envoyassert.events import Event
from envoyassert.graph.gaps import find_gaps
from envoyassert.live.traces import MOST_EPOCHS, joined_epochs
from envoyassert.trace import CpuCounters, End, Header, Trace


def event(ts_ns: int, cpu: int, seq: int, pid: int) -> Event:
    return Event(ts_ns, pid, pid, "close", 0, {"fd": 3}, cpu, seq)


OLD = [event(10, 0, 1, 7), event(40, 0, 2, 7), event(50, 1, 1, 7)]
NEW = [event(20, 0, 1, 8), event(30, 0, 2, 8)]
COUNTERS = (CpuCounters(0, 2, 0), CpuCounters(1, 1, 0))


def trace_of(*parts) -> Trace:
    events, cpus = joined_epochs(parts)
    return Trace(Header(), events, End(cpus=cpus, drained=True, marked=True))


def test_whole_recordings_make_a_whole_one_in_the_order_of_time():
    trace = trace_of((OLD, COUNTERS), (NEW, COUNTERS[:1]))
    assert [(one.ts_ns, one.pid) for one in trace.events] == [
        (10, 7),
        (20, 8),
        (30, 8),
        (40, 7),
        (50, 7),
    ]
    assert find_gaps(trace) == ([], [])
    assert trace.events[0] is OLD[0], "the first recording stays as it is"


def test_a_loss_of_one_recording_is_as_long_as_it_was():
    """Records of the other one in between say nothing of when it was."""
    lost = [OLD[0], event(40, 0, 3, 7), OLD[2]]
    trace = trace_of((lost, (replace(COUNTERS[0], emitted=3, dropped=1), COUNTERS[1])),
                     (NEW, COUNTERS[:1]))  # fmt: skip
    gaps, contradictions = find_gaps(trace)
    assert contradictions == []
    (gap,) = gaps
    assert (gap.start_ns, gap.end_ns, gap.count) == (10, None, 1)


def test_a_loss_at_the_end_of_one_recording_is_seen():
    trace = trace_of((OLD, COUNTERS), (NEW[:1], COUNTERS[:1]))
    (gap,), contradictions = find_gaps(trace)
    assert contradictions == []
    assert (gap.start_ns, gap.end_ns, gap.count) == (20, None, 1)


def test_more_than_fit_are_refused():
    with pytest.raises(ValueError, match="more than"):
        joined_epochs([(OLD, COUNTERS)] * (MOST_EPOCHS + 1))
    with pytest.raises(ValueError, match="CPUs"):
        joined_epochs([(OLD, (CpuCounters(4096, 1, 0),))])
