"""The story while it happens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from envoyassert.report.story_text import AsItHappens
from envoyassert.trace_file import read_trace

TRACE = Path(__file__).parents[1] / "traces" / "reuse_port_off-1.40.0.ndjson"


def test_each_line_is_printed_once_however_the_trace_grows():
    trace = read_trace(TRACE)
    whole = AsItHappens().lines(trace)
    growing = AsItHappens()
    parts = []
    for end in (10, 60, 60, len(trace.events)):
        parts += growing.lines(replace(trace, events=trace.events[:end]))
    assert [line.split()[-1] for line in parts] == [line.split()[-1] for line in whole]
    assert growing.lines(trace) == []


def test_a_line_has_time_thread_descriptor_socket_and_call():
    lines = AsItHappens().lines(read_trace(TRACE))
    assert lines[0].split()[:4] == ["+0.000ms", "main", "-", "-"]
    (bind,) = (line for line in lines if "bind(" in line and ":15006)" in line)
    time, thread, descriptor, socket, call = bind.split(maxsplit=4)
    assert time.endswith("ms")
    assert (thread, call) == ("main", f"bind({descriptor}, 0.0.0.0:15006) = 0")
    options = [line for line in lines if f" {socket} " in line and "setsockopt(" in line]
    served = [line for line in lines if f" {socket} " in line and "epoll_ctl(" in line]
    assert options
    assert {line.split()[1] for line in served} == {"worker_0", "worker_1"}
