"""Storms: one kind of call in great number must be judged in proportion to its length."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from pydantic import TypeAdapter

from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from envoyassert.words.registry import Expectation
from tests.bench.row import Row, figure
from tests.bench.session import Session

CALLS = 1_000_000
#: How much more than in proportion ten times the calls may take.
GROWTH = 1.5
KINDS = ("accept4 fails", "accept4", "listen", "setsockopt", "dup", "epoll_ctl", "socket")
#: What looks at each of the calls.
_EXPECTED = [
    {"invariants": "all"},
    {"listener": {"port": 10000}, "connections": {"spread": {"even": {"false_alarm": 0.01}}}},
    {"listener": {"port": 10000}, "sockets": {"live": 1}, "descriptors": {"live": {"at_least": 1}}},
    {"calls": {"call": ["accept4", "listen", "dup"], "times": {"at_least": 1}}},
    {"never": {"call": "accept4", "errno": "EMFILE"}},
    *({"listener": {"port": 10000}, word: "workers"} for word in ("served_by", "listen_by")),
]


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield, for each kind of call, how much more than in proportion ten times as many take."""
    for kind in KINDS:
        small_s = [_time(storm(kind, CALLS // 10)) for _ in range(pairs)]
        large_s = [_time(storm(kind, CALLS)) for _ in range(pairs)]
        growth = tuple(large / small / 10 for small, large in zip(small_s, large_s, strict=True))
        what = f"{CALLS:,} calls, {kind}: judged and printed"
        seen = figure(statistics.median(large_s), "s")
        yield Row(line, what, f"{CALLS // 10:,} calls", growth, "", GROWTH, seen)


def storm(kind: str, length: int) -> Trace:
    """Return a start-up of two workers, followed by one kind of call until there are `length`."""
    trace = TraceBuilder(workers=2)
    listener = trace.shared_listener("127.0.0.1:10000")
    main, worker = trace.main, trace.worker(0)
    while len(trace.events) < length:
        fd = 1000 + len(trace.events) % 500
        if kind == "accept4 fails":
            # As a listening socket does that was shut down: its epoll says so again and again.
            trace.call(worker, "accept4", -22, fd=listener[0], flags=[])
        elif kind == "accept4":
            trace.call(worker, "accept4", fd, fd=listener[0], flags=[])
            trace.epoll_add(worker, fd)
            trace.close(worker, fd)
        elif kind == "listen":
            trace.listen(main, listener[0])
        elif kind == "setsockopt":
            trace.setsockopt(main, listener[0], "SO_REUSEADDR")
        elif kind == "dup":
            copy = trace.dup(worker, listener[0])
            trace.epoll_add(worker, copy)
            trace.close(worker, copy)
        elif kind == "epoll_ctl":
            trace.epoll_delete(worker, listener[0])
            trace.epoll_add(worker, listener[0])
        else:
            trace.close(main, trace.socket(main))
    return trace.build()


def _time(trace: Trace) -> float:
    """Return the processor time of fold, every judge of a storm, and the story, in seconds."""
    items = list(enumerate(TypeAdapter(list[Expectation]).validate_python(_EXPECTED)))
    begun = time.process_time()
    graph = fold(trace)
    verdict = judge(trace, items, workers=2, graph=graph)
    story_lines(story_of(trace, graph, verdict.certificate))
    return time.process_time() - begun
