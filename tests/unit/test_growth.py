"""Work grows with listeners and workers in proportion: counted in calls of functions, not in time.

A thousand listeners on sixteen workers have 16,000 sockets: what looks at each of them for each of
them takes minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.accounts import (
    EnvoyAccount,
    EnvoyListener,
    Network,
    NetworkSocket,
    Witness,
    WitnessRegistration,
    WitnessSocket,
)
from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ListenerRecord, Trace
from envoyassert.trace_file import parse_trace, trace_lines
from envoyassert.words.registry import Expectation

FIRST_PORT = 10000
#: As much again takes as many further calls; only what is wrapped may differ a little.
GROWTH = 1.02
READY = {"server.concurrency": 0, "listener_manager.workers_started": 1}
STILL = dict.fromkeys(
    (f"listener_manager.total_listeners_{state}" for state in ("draining", "warming")), 0
)


def start_of(listeners: int, workers: int) -> Trace:
    """Return a start with a socket for each listener and worker, and what everyone says of it."""
    addresses = [Address.inet("127.0.0.1", FIRST_PORT + n) for n in range(listeners)]
    records = tuple(ListenerRecord(f"l{n}", "TCP", (a,)) for n, a in enumerate(addresses))
    builder = TraceBuilder(workers, listeners=records)
    for address in addresses:
        builder.reuse_port_listener(str(address))
    builder.pass_time(1_000_000_000)
    builder.reply_live()
    builder.close(builder.main, builder.socket(builder.main))
    trace = builder.build()
    return replace(trace, witness=_accounts(trace, builder.main, workers))


def _accounts(trace: Trace, pid: int, workers: int) -> Witness:
    graph, now_ns = fold(trace), trace.events[-1].ts_ns
    sockets = [(socket, 7000 + socket.number) for socket in graph.listening()]
    options = {"SOL_SOCKET/SO_REUSEADDR": 1, "SOL_SOCKET/SO_REUSEPORT": 1}
    said = tuple(EnvoyListener(record.name, record.addresses) for record in trace.header.listeners)
    return Witness(
        now_ns + 20,
        tuple(
            WitnessSocket(pid, d.fd, inode, None, socket.address, True, True, options)
            for socket, inode in sockets
            for d in socket.descriptors
        ),
        tuple(
            WitnessRegistration(pid, r.epoll.fd, r.descriptor.fd, inode, 0x19)
            for socket, inode in sockets
            for r in socket.live_registrations()
        ),
        begun_ns=now_ns + 10,
        pid=pid,
        pids=(pid,),
        network=Network(
            tuple(NetworkSocket("TCP", s.address, inode, None, 0, 4096) for s, inode in sockets),
            4096,
        ),
        envoy=EnvoyAccount(
            now_ns + 30, now_ns + 40, said, {**READY, **STILL, "server.concurrency": workers}
        ),
    )


def about_all(listeners: int) -> list[dict[str, Any]]:
    """Return expectations about each listener, and about all."""
    selectors = [{"name": f"l{n}"} if n % 2 else {"port": FIRST_PORT + n} for n in range(listeners)]
    return [
        {"invariants": "all"},
        {"no_others": True},
        {"calls": {"call": ["listen", "bind"], "times": {"at_least": 1}}},
        {"never": {"call": "bind", "errno": "EADDRINUSE"}},
        *(
            {
                "listener": selector,
                "bound": {"times": {"workers": 1}, "by": "main"},
                "sockets": {"live": {"workers": 1}},
                "served_by": "workers",
                "options": {"SO_REUSEPORT": "set"},
            }
            for selector in selectors
        ),
    ]


def judged(trace: Trace) -> None:
    """Fold and judge."""
    said = about_all(len(trace.header.listeners))
    items = list(enumerate(TypeAdapter(list[Expectation]).validate_python(said)))
    verdict = judge(trace, items, workers=trace.header.concurrency)
    assert verdict.status is Status.PASS, [f for f in verdict.findings if f.status != Status.PASS]


def shown(trace: Trace) -> None:
    """Print the story."""
    graph = fold(trace)
    assert list(story_lines(story_of(trace, graph, certify(trace, graph))))


def kept(trace: Trace) -> None:
    """Write the trace and read it."""
    assert len(parse_trace(list(trace_lines(trace))).events) == len(trace.events)


def calls_in(work: Callable[[Trace], None], trace: Trace) -> int:
    """Return how many functions are called, those of Python's own library and of C included."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work(trace)
    finally:
        sys.setprofile(None)
    return count


def steps_of(work: Callable[[Trace], None], sizes: list[tuple[int, int]]) -> list[int]:
    """Return how many more calls each size takes than the one before, of listeners and workers."""
    traces = [start_of(*size) for size in sizes]
    calls_in(work, traces[0])  # what is built once at first use
    counts = [calls_in(work, trace) for trace in traces]
    return [after - before for before, after in pairwise(counts)]


@pytest.mark.parametrize("work", [judged, shown, kept])
@pytest.mark.parametrize(
    "sizes", [[(n, 1) for n in (50, 100, 150)], [(8, n) for n in (4, 8, 12)]], ids=repr
)
def test_work_grows_in_proportion(
    work: Callable[[Trace], None], sizes: list[tuple[int, int]]
) -> None:
    first, second = steps_of(work, sizes)

    assert second < GROWTH * first
