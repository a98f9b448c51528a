"""Print how long it takes to decode, fold and judge a long record, and the memory it needs.

    python judging.py EVENTS

The record is a start-up of two workers, followed by connections that come and go. Its bytes are
those of the probe; the numbers of types of records never change.
"""

import ctypes
import gc
import importlib
import importlib.util
import json
import resource
import struct
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.testing import TraceBuilder
from envoyassert.wire import Record, decode

EXPECTED = [
    {
        "listener": {"port": 10000},
        "bound": {"times": 1, "by": "main"},
        "listened": {"by": "workers", "via": "dup"},
    },
    {"in_order": [{"call": "bind"}, {"call": "listen"}]},
    {"never": {"call": "bind", "errno": "EADDRINUSE"}},
    {
        "always": {"listener": {"port": 10000}, "served": True, "by": "worker_0"},
        "since": {"listener": {"port": 10000}, "becomes": "served", "by": "workers"},
    },
    {"no_others": True},
]
#: Types of records: accept4, close and epoll_ctl.
ACCEPT4, CLOSE, EPOLL_CTL = 7, 15, 19
ADD, DELETE, EPOLLIN, NONBLOCK = 1, 2, 1, 0o4000
RECORD = struct.Struct("=QqQIIIIHBBHH6i")
assert RECORD.size == ctypes.sizeof(Record)


def records_after(builder, length):
    """Yield the records that follow what a builder made, until there are so many events."""
    listener = builder.shared_listener("127.0.0.1:10000")
    first = len(builder.events)
    ts_ns = builder.events[-1].ts_ns
    number = first
    while number < length:
        worker = builder.worker(number % 2)
        epoll = builder.epoll(worker)
        fd = 1000 + number % 500
        # The first three words are registers, whether the call has so many arguments or not.
        rest = (number * 7919 & 0x7FFFFFFF, number * 104729 & 0x7FFFFFFF)
        for kind, ret, args in (
            (ACCEPT4, fd, (listener[number % 2], *rest, NONBLOCK)),
            (EPOLL_CTL, 0, (epoll, ADD, fd, EPOLLIN)),
            (EPOLL_CTL, 0, (epoll, DELETE, fd)),
            (CLOSE, 0, (fd, *rest)),
        ):
            ts_ns += 1000
            place = (number // 2 + 1, builder.main, worker, number % 2)
            padded = args + (0,) * (6 - len(args))
            yield RECORD.pack(ts_ns, ret, 0, 1, *place, kind, 0, 0, 0, *padded)
            number += 1


def resident_bytes():
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# Where the type of expectations is; older commits do not have the first.
has_words = importlib.util.find_spec("envoyassert.words") is not None
place = "envoyassert.words.registry" if has_words else "envoyassert.scenario.expectation"
expectation: Any = importlib.import_module(place).Expectation

builder = TraceBuilder(workers=2)
records = list(records_after(builder, int(sys.argv[1])))
items = list(enumerate(TypeAdapter(list[expectation]).validate_python(EXPECTED)))
gc.collect()
before = resident_bytes()
begun = time.process_time()
events = decode(records)
decoded = time.process_time()
events_bytes = resident_bytes() - before
# The counters of a trace are its builder's work, not what is measured.
builder.events.extend(events)
trace = builder.build()
made = time.process_time()
graph = fold(trace)
folded = time.process_time()
verdict = judge(trace, items, workers=2, graph=graph)
judged = time.process_time()
grown = resident_bytes() - before
if verdict.status.value != "PASS":
    sys.exit(f"the verdict must be PASS, not {verdict.status.value}")
count = len(trace.events)
figures = {
    "events": count,
    "decode_s": decoded - begun,
    "fold_s": folded - made,
    "judge_s": judged - folded,
    "event_bytes": events_bytes / count,
    "graph_bytes": grown / count,
}
print(json.dumps(figures))
