"""`only_options`: each deviation of a single setsockopt is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.report.advice import advice
from envoyassert.report.headline import sentence
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import Trace

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "127.0.0.1:15006"
#: name and value of each setsockopt by phase
Calls = list[tuple[str, Any]]


def trace_of(*sockets: tuple[Calls, Calls, Calls]) -> Trace:
    trace = TraceBuilder(2)
    for index, (early, bound, late) in enumerate(sockets):
        fd = trace.socket(trace.main)
        for name, value in early:
            trace.setsockopt(trace.main, fd, name, value)
        trace.bind(trace.main, fd, PLACE)
        for name, value in bound:
            trace.setsockopt(trace.main, fd, name, value)
        trace.listen(trace.main, fd)
        for name, value in late:
            trace.setsockopt(trace.main, fd, name, value)
        trace.epoll_add(trace.worker(index), fd)
    trace.call(trace.main, "epoll_wait", None, epfd=5)
    return trace.build()


def finding(trace: Trace, expected: dict[str, Any]) -> Finding:
    item = {"listener": {"port": 15006}, "only_options": expected}
    return judge(trace, [(0, parse_expectation(item))], workers=2).findings[0]


EARLY: Calls = [("SO_REUSEADDR", 1), ("SO_REUSEPORT", 1)]
MANY = ("SO_REUSEADDR", "SO_REUSEPORT", "IP_FREEBIND", "SO_KEEPALIVE", "SO_DEBUG", "SO_RCVBUF")
EXPECTED = {"before_bind": {"SO_REUSEADDR": 1, "SO_REUSEPORT": 1}, "listening": {"SO_RCVBUF": 4}}
AS_EXPECTED: tuple[Calls, Calls, Calls] = (EARLY, [], [("SO_RCVBUF", 4)])


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (AS_EXPECTED, PASS),
        ((EARLY[::-1], [], [("SO_RCVBUF", 4)]), PASS),  # in any order
        (([*EARLY, ("SO_KEEPALIVE", 1)], [], [("SO_RCVBUF", 4)]), FAIL),
        (([*EARLY, EARLY[0]], [], [("SO_RCVBUF", 4)]), FAIL),
        ((EARLY[1:], EARLY[:1], [("SO_RCVBUF", 4)]), FAIL),
        ((EARLY[1:], [], [("SO_RCVBUF", 4)]), FAIL),
        (([("SO_REUSEADDR", 0), EARLY[1]], [], [("SO_RCVBUF", 4)]), FAIL),
        (([("SO_DEBUG", 1), EARLY[1]], [], [("SO_RCVBUF", 4)]), FAIL),
        ((EARLY, [], []), FAIL),
    ],
)
def test_one_socket_of_two_that_deviates(other: tuple[Calls, Calls, Calls], status: Status) -> None:
    assert finding(trace_of(AS_EXPECTED, other), EXPECTED).status is status
    assert finding(trace_of(other, AS_EXPECTED), EXPECTED).status is status


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        ({"bound": {"SO_RCVBUF": [1, 2]}}, PASS),
        ({"bound": {"SO_RCVBUF": ["set", 2]}}, PASS),
        ({"bound": {"SO_RCVBUF": [2, 1]}}, FAIL),
        ({"bound": {"SO_RCVBUF": [1, 2, 2]}}, FAIL),
        ({"bound": {"SO_RCVBUF": 2}}, FAIL),
        ({"bound": {"SO_RCVBUF": "set"}}, FAIL),
        ({"bound": {"1/8": [1, 2]}}, PASS),
        ({}, FAIL),
    ],
)
def test_option_that_is_set_several_times(expected: dict[str, Any], status: Status) -> None:
    assert (
        finding(trace_of(([], [("SO_RCVBUF", 1), ("SO_RCVBUF", 2)], [])), expected).status is status
    )


def test_no_option_at_all() -> None:
    assert finding(trace_of(([], [], [])), {}).status is PASS
    assert finding(TraceBuilder(2).build(), {}).status is FAIL  # no socket


def test_value_that_was_not_read_whole_is_not_known() -> None:
    partly = {"instructions": 3, "sha256": None}
    trace = trace_of(([("SO_ATTACH_FILTER", partly)], [], []))
    expected = {"SO_ATTACH_FILTER": {"instructions": 3, "sha256": "0123abcd"}}
    assert finding(trace, {"before_bind": expected}).status is INCONCLUSIVE


def test_text_shows_what_was_set_and_when() -> None:
    found = finding(trace_of(AS_EXPECTED, (EARLY[:1], EARLY[1:], [("SO_RCVBUF", 4)])), EXPECTED)
    assert words_of(found).expected == (
        "set on each socket: SO_REUSEADDR = 1, SO_REUSEPORT = 1 before bind; "
        "SO_RCVBUF = 4 after listen"
    )
    assert words_of(found).seen == (
        "SO_REUSEADDR = 1 before bind; SO_REUSEPORT = 1 after bind; SO_RCVBUF = 4 after listen: "
        "1 of 2 sockets"
    )


def test_text_names_what_is_unexpected_and_shows_its_call() -> None:
    early: Calls = [(name, 1) for name in MANY]
    trace = trace_of(*[(early, [("IP_TRANSPARENT", 1)], [("SO_PRIORITY", 3)])] * 2)
    found = finding(trace, {"before_bind": dict(early)})
    assert words_of(found).differs == (
        "unexpected IP_TRANSPARENT = 1 after bind; SO_PRIORITY = 3 after listen"
    )
    assert sentence(found) == (
        "port 15006: expected the 6 options that are named and no others, saw "
        "unexpected IP_TRANSPARENT = 1 after bind; SO_PRIORITY = 3 after listen"
    )
    shown = [event.args["name"] for event in found.evidence]
    assert shown == ["IP_TRANSPARENT", "SO_PRIORITY"]
    hint = advice(found, trace.end.outcome)
    assert hint.startswith("if IP_TRANSPARENT and SO_PRIORITY should be set, name it too; set by ")
    assert "`transparent: true` of the listener, or an entry of the listener's `socket_o" in hint


@pytest.mark.parametrize(
    ("seen", "differs", "hint"),
    [
        ([("SO_REUSEADDR", 1)], "missing SO_REUSEPORT = 1 before bind", "set by `enable_reuse_p"),
        (
            [("SO_REUSEADDR", 1), ("SO_REUSEPORT", 0)],
            "unexpected SO_REUSEPORT = 0 before bind, missing SO_REUSEPORT = 1 before bind",
            "the `state` of an entry of socket_options says when",
        ),
        ([*EARLY, EARLY[0]], "unexpected SO_REUSEADDR = 1 before bind", "if SO_REUSEADDR should"),
    ],
)
def test_text_names_what_is_missing_or_otherwise(seen: Calls, differs: str, hint: str) -> None:
    trace = trace_of((seen, [], []), (EARLY, [], []))
    found = finding(trace, {"before_bind": dict(EARLY)})
    assert words_of(found).differs == differs
    assert sentence(found) == (
        "port 15006: expected set on each socket: SO_REUSEADDR = 1, SO_REUSEPORT = 1 "
        f"before bind, saw {differs}"
    )
    assert advice(found, trace.end.outcome).startswith(hint)
    assert words_of(finding(trace_of((EARLY, [], [])), {"before_bind": dict(EARLY)})).differs == ""


def test_loss_leaves_only_an_option_that_is_not_expected_at_all() -> None:
    def lossy(*sockets: tuple[Calls, Calls, Calls]) -> Trace:
        built = trace_of(*sockets)
        cpus = tuple(replace(cpu, emitted=cpu.emitted + 1, dropped=1) for cpu in built.end.cpus)
        return replace(built, end=replace(built.end, cpus=cpus))

    assert finding(lossy(AS_EXPECTED), EXPECTED).status is INCONCLUSIVE
    assert finding(lossy((EARLY[1:], [], [])), EXPECTED).status is INCONCLUSIVE
    assert finding(lossy(([*EARLY, ("SO_DEBUG", 1)], [], [])), EXPECTED).status is FAIL
