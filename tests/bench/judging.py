"""How long fold and judge take on long traces, and whether the time grows linearly.

    python -m tests.bench.judging

Needs no root: the trace is built, a start-up of two workers followed by connections that come and
go. Processor time counts, for that is what a busy machine leaves alone.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.testing import TraceBuilder
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace
from envoyassert.trace_lines import trace_lines
from envoyassert.words.registry import Expectation

SIZES = (100_000, 1_000_000)
#: Calls that come in storms, and expectations that look at each of them.
STORMS = ("accept4 fails", "accept4", "listen", "setsockopt", "dup", "epoll_ctl", "socket")
_STORM_EXPECTATIONS = [
    {"invariants": "all"},
    {"listener": {"port": 10000}, "connections": {"spread": {"even": {"false_alarm": 0.01}}}},
    {"listener": {"port": 10000}, "sockets": {"live": 1}, "descriptors": {"live": {"at_least": 1}}},
    {"calls": {"call": ["accept4", "listen", "dup"], "times": {"at_least": 1}}},
    {"never": {"call": "accept4", "errno": "EMFILE"}},
    *({"listener": {"port": 10000}, word: "workers"} for word in ("served_by", "listen_by")),
]
#: Seconds to fold and judge the smaller trace.
BUDGET_S = 1.0
#: How much more than in proportion the larger trace may take; memory costs more when there is more.
GROWTH = 1.5

_EXPECTATIONS = [
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


def long_trace(length: int) -> Trace:
    """Return a trace of about `length` events, nearly all of them about accepted connections."""
    trace = TraceBuilder(workers=2)
    listener = trace.shared_listener("127.0.0.1:10000")
    while len(trace.events) < length:
        number = len(trace.events)
        worker = trace.worker(number % 2)
        trace.call(worker, "accept4", 1000 + number % 500, fd=listener[number % 2], flags=[])
        trace.epoll_add(worker, 1000 + number % 500)
        trace.epoll_delete(worker, 1000 + number % 500)
        trace.close(worker, 1000 + number % 500)
    return trace.build()


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


def time_storm(trace: Trace) -> float:
    """Return the processor time of fold, every judge of a storm, and the story, in seconds."""
    items = list(enumerate(TypeAdapter(list[Expectation]).validate_python(_STORM_EXPECTATIONS)))
    begun = time.process_time()
    graph = fold(trace)
    verdict = judge(trace, items, workers=2, graph=graph)
    story_lines(story_of(trace, graph, verdict.certificate))
    return time.process_time() - begun


def bench_storms(large: int = SIZES[1]) -> bool:
    """Print what each storm takes at two lengths, and return whether that grows linearly."""
    linear = True
    for kind in STORMS:
        small_s = time_storm(storm(kind, large // 10))
        large_s = time_storm(storm(kind, large))
        growth = large_s / small_s / 10
        linear = linear and growth < GROWTH
        print(
            f"{large} calls, {kind}: judged and printed in {large_s:.1f} s, {growth:.2f} times "
            f"what proportion gives (budget {GROWTH})"
        )
    return linear


def time_judging(trace: Trace, repeats: int) -> float:
    """Return the shortest processor time of fold and judge, in seconds; the trace must pass."""
    items = list(enumerate(TypeAdapter(list[Expectation]).validate_python(_EXPECTATIONS)))
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        verdict = judge(trace, items, workers=2, graph=fold(trace))
        times.append(time.process_time() - begun)
        if verdict.status is not Status.PASS:
            raise AssertionError(f"the trace must pass: {verdict.findings}")
    return min(times)


def bench_judging() -> bool:
    """Print the figures and return whether they keep their budgets."""
    small = long_trace(SIZES[0])
    with TemporaryDirectory() as directory:
        path = Path(directory) / "trace.ndjson"
        path.write_text("\n".join(trace_lines(small)) + "\n")
        begun = time.process_time()
        read_trace(path)
        print(f"read the file of {len(small.events)} events: {time.process_time() - begun:.2f} s")
    small_s = time_judging(small, 5)
    large = long_trace(SIZES[1])
    large_s = time_judging(large, 2)
    growth = large_s / small_s / (len(large.events) / len(small.events))
    print(f"fold and judge {len(small.events)} events: {small_s:.2f} s (budget {BUDGET_S} s)")
    print(
        f"fold and judge {len(large.events)} events: {large_s:.2f} s, {growth:.2f} times what "
        f"what proportion gives (budget {GROWTH})"
    )
    return small_s < BUDGET_S and growth < GROWTH


if __name__ == "__main__":
    sys.exit(0 if bench_judging() & bench_storms() else 1)
