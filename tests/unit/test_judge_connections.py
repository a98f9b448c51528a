"""Connections on a listener, and what happened to clients."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP, ConnectionAttempt, Trace
from envoyassert.words.of_listener import connections
from envoyassert.words.of_listener.connections import chance_range, rarity

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "0.0.0.0:15006"


def accept(trace: TraceBuilder, fd: int, by: int, handled_by: int | None = None) -> int:
    """Let a worker accept a connection, and one register it."""
    connection = trace._next_fd()
    trace.call(trace.worker(by), "accept4", connection, fd=fd, address=None, flags=[])
    if handled_by is not None:
        trace.epoll_add(trace.worker(handled_by), connection)
    return connection


def spread(*numbers: int, accepted_by: int | None = None) -> TraceBuilder:
    """Let worker i handle so many connections, each accepted by itself or by one worker."""
    trace = TraceBuilder(len(numbers))
    fds = trace.shared_listener(PLACE)
    for worker, number in enumerate(numbers):
        by = worker if accepted_by is None else accepted_by
        for _ in range(number):
            accept(trace, fds[by], by, worker)
    return trace


def finding(trace: Trace, workers: int, item: dict[str, Any]) -> Finding:
    verdict = judge(trace, [(0, parse_expectation(item))], workers=workers)
    return verdict.findings[-1]


def of(trace: TraceBuilder, lost: tuple[int, ...] = (), **connections: Any) -> Finding:
    item = {"listener": {"port": 15006}, "connections": connections}
    return finding(trace.build(lost), trace.workers, item)


@pytest.mark.parametrize(
    "word, wanted",
    [
        ({"total": 5}, PASS),
        ({"total": 4}, FAIL),
        ({"accepted_by": "workers"}, FAIL),
        ({"accepted_by": "worker_0"}, PASS),
        ({"handled_by": "workers"}, PASS),
        ({"handled_by": "worker_0"}, FAIL),
        ({"spread": {"differ_by": 1}}, PASS),
        ({"spread": {"differ_by": 0}}, FAIL),
        ({"spread": {"of": "accepted", "differ_by": 1}}, FAIL),
        ({"errors": {"EMFILE": "none"}}, PASS),
        ({"errors": {"EAGAIN": 1}}, FAIL),
    ],
)
def test_connections_are_judged_by_who_accepts_and_who_handles(
    word: dict[str, Any], wanted: Status
) -> None:
    trace = spread(3, 2, accepted_by=0)
    assert of(trace, **word).status is wanted
    for lost in range(len(trace.events)):
        changed = of(trace, lost=(lost,), **word).status
        assert changed is wanted or changed is INCONCLUSIVE


def test_failed_accepts_are_counted_by_error() -> None:
    trace = spread(1)
    for _ in range(3):
        trace.call(trace.worker(0), "accept4", -24, fd=21, address=None, flags=[])
    assert of(trace, errors={"EMFILE": 3}).status is PASS
    assert of(trace, errors={"EMFILE": {"at_most": 2}}).status is FAIL


def test_connection_that_is_closed_at_once_is_handled_by_no_worker() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.shared_listener(PLACE)
    trace.close(trace.worker(0), accept(trace, fd, 0))
    assert of(trace, handled_by="none").status is PASS
    assert of(trace, total=1).status is PASS


@pytest.mark.parametrize(
    "numbers, wanted",
    [((30, 22), PASS), ((44, 8), FAIL), ((3, 2), INCONCLUSIVE), ((52, 0), FAIL), ((0, 0), None)],
)
def test_even_spread_fails_only_beyond_its_rate_of_false_alarms(
    numbers: tuple[int, ...], wanted: Status | None
) -> None:
    found = of(spread(*numbers), spread={"even": {"false_alarm": 0.001}})
    assert found.status is (wanted or INCONCLUSIVE)
    assert "false alarms: 0.001" in words_of(found).expected


@pytest.mark.parametrize("workers, total", [(2, 9), (3, 7), (4, 5)])
def test_rate_of_false_alarms_is_never_more_than_stated(workers: int, total: int) -> None:
    """All outcomes together that are called rarer than a rate are not more frequent than it."""
    chances: dict[tuple[int, ...], Fraction] = {}
    for numbers in product(range(total + 1), repeat=workers):
        if sum(numbers) == total:
            ways, left = 1, total
            for number in numbers:
                ways *= comb(left, number)
                left -= number
            chances[numbers] = Fraction(ways, workers**total)
    assert sum(chances.values()) == 1
    for rate in {rarity(numbers) for numbers in chances}:
        alarms = sum(p for numbers, p in chances.items() if rarity(numbers) <= rate)
        assert alarms <= rate


def test_clients_are_judged_by_their_results_in_their_step() -> None:
    trace = TraceBuilder(1)
    place = Address.inet("127.0.0.1", 15006)
    trace.end_phase(STARTUP, STARTUP)
    attempts = (
        ConnectionAttempt("TCP", place, True, first_byte=True, end="held"),
        ConnectionAttempt("TCP", place, True, end="reset", errno="ECONNRESET"),
        ConnectionAttempt("TCP", place, False, errno="ECONNREFUSED"),
    )
    trace.end_phase("connect", "connect", attempts=attempts)
    built = trace.build()

    def status(expected: Any, **scope: str) -> Status:
        return finding(built, 1, {"attempts": expected, **(scope or {"during": "connect"})}).status

    assert status({"made": 2, "refused": 1, "answered": 1, "held": 1, "reset": 1}) is PASS
    assert status({"eof": "none", "silent": "none"}) is PASS
    assert status("made") is FAIL
    assert status({"answered": {"at_least": 2}}) is FAIL
    assert status("made", during="startup") is INCONCLUSIVE
    partly = finding(built, 1, {"attempts": "answered", "during": "connect"})
    assert words_of(partly).seen == "1 of 3 answered (1 ECONNRESET, 1 ECONNREFUSED)"


def test_bound_for_many_connections_is_never_below_the_exact_chance(monkeypatch):
    for workers in (2, 4, 8):
        for skew in (0, 10, 60, 120):
            even = 1200 // workers
            numbers = [even + skew, even - skew, *[even] * (workers - 2)]
            exact = rarity(numbers)
            with monkeypatch.context() as patch:
                patch.setattr(connections, "_EXACT", 0)
                bound = rarity(numbers)
            assert exact <= bound <= 1
        assert bound < 1e-6, "the last spread is far from even"


@pytest.mark.parametrize(
    ("ends", "expected", "seen"),
    [
        (["closed"] * 4, "answered", "4 closed"),
        (["held", "held", "eof"], "answered", "2 held, 1 eof"),
        (["held", "held", "eof"], {"eof": 3}, "1 of 3 eof, 2 held"),
        (["", ""], {"held": 2}, "2 made"),
    ],
)
def test_clients_with_other_results_are_described_by_those(
    ends: list[str], expected: Any, seen: str
) -> None:
    trace = TraceBuilder(1)
    place = Address.inet("127.0.0.1", 15006)
    trace.end_phase(STARTUP, STARTUP)
    attempts = tuple(ConnectionAttempt("TCP", place, True, end=end) for end in ends)
    trace.end_phase("connect", "connect", attempts=attempts)
    found = finding(trace.build(), 1, {"attempts": expected, "during": "connect"})
    assert found.status is FAIL
    assert words_of(found).seen == seen


@pytest.mark.parametrize("total, workers", [(60, 2), (61, 4), (2400, 2), (5, 3)])
def test_range_of_chance_is_what_the_rarity_of_a_spread_allows(total: int, workers: int) -> None:
    alarm = 0.001
    low, high = chance_range(total, workers, alarm)
    assert low < total / workers < high

    def rare(number: int) -> bool:
        even, left = divmod(total - number, workers - 1)
        others = [even + (index < left) for index in range(workers - 1)]
        return rarity([number, *others]) < alarm

    assert not rare(low)
    assert not rare(high)
    assert low == 0 or rare(low - 1)
    assert high == total or rare(high + 1)


def test_one_worker_has_all_connections() -> None:
    assert chance_range(7, 1, 0.001) == (7, 7)
    assert chance_range(0, 4, 0.001) == (0, 0)
