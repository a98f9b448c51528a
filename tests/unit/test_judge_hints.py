"""Hints about how many sockets there are answer the count that was not met."""

from __future__ import annotations

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.context import cause_of_count
from envoyassert.judge.interval import Interval
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.report.failure import failure_lines
from envoyassert.testing import TraceBuilder
from envoyassert.texts.facts import text
from envoyassert.trace import Trace


@pytest.mark.parametrize(
    ("shape", "seen", "wanted", "ends"),
    [
        ("reuse_port", 2, Interval(1, 1), "for one socket set enable_reuse_port: false"),
        ("reuse_port", 2, Interval(3, 3), "each with SO_REUSEPORT"),
        ("reuse_port", 2, Interval(3, None), "each with SO_REUSEPORT"),
        ("dup", 1, Interval(2, 2), "for a socket per worker set enable_reuse_port: true"),
        ("dup", 2, Interval(1, 1), "dup()ed for each worker"),
        ("dup", 1, Interval(0, 0), ""),
        ("shared_fd", 1, Interval(2, 2), "up to about 1.18"),
    ],
)
def test_hint_shows_the_way_to_what_is_wanted_and_not_away_from_it(shape, seen, wanted, ends):
    hint = text(cause_of_count(shape, seen, wanted))
    assert hint.endswith(ends)
    assert bool(hint) is bool(ends)


def first_of(trace: Trace, said: dict[str, object], workers: int) -> Finding:
    item = parse_expectation({"listener": {"port": 80}, **said})
    return judge(trace, [(0, item)], workers=workers).findings[0]


@pytest.mark.parametrize("kind", ["shared_listener", "reuse_port_listener"])
@pytest.mark.parametrize(
    "said",
    [{"bound": {"times": 2}}, {"sockets": 2}, {"descriptors": 2}, {"listen_calls": {"times": 2}}],
)
def test_one_worker_is_the_cause_and_not_enable_reuse_port(kind, said):
    trace = TraceBuilder(1)
    getattr(trace, kind)("0.0.0.0:80")
    found = first_of(trace.build(), said, workers=1)
    assert text(found.cause).startswith("one worker: one socket and one descriptor of each address")
    assert "raise `concurrency` (0 means one worker, too)" in text(found.cause)


def test_one_worker_is_the_cause_in_the_second_line():
    trace = TraceBuilder(1)
    trace.shared_listener("0.0.0.0:80")
    built = trace.build()
    item = parse_expectation({"listener": {"port": 80}, "bound": {"times": 2}})
    verdict = judge(built, [(0, item)], workers=1)
    assert failure_lines(verdict, built, fold(built))[1].startswith("  cause: one worker: ")


def test_what_main_serves_alone_has_no_cause_in_how_workers_share():
    trace = TraceBuilder(2)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:80")
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.main, fd)
    found = first_of(trace.build(), {"bound": {"times": 2}}, workers=2)
    assert found.status is Status.FAIL
    assert found.cause is None
