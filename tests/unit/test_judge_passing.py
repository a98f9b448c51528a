"""Sockets that came from, or went to, a process of which nothing else is known."""

from __future__ import annotations

from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.certificate import certify
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "0.0.0.0:15006"
PORT: dict[str, Any] = {"listener": {"port": 15006}}
RECORDS = (ListenerRecord("a", "TCP", (Address.inet("0.0.0.0", 15006),)),)
HELPER = 4711
ITEMS = [
    {**PORT, "bound": {"times": 2, "by": "main"}},
    {**PORT, "served_by": "workers"},
    {**PORT, "listen_calls": {"times": 2}},
    {**PORT, "sockets": {"live": 2}},
    {**PORT, "descriptors": {"live": 2}},
    {**PORT, "options": {"SO_REUSEPORT": 1}},
    {"never": {"call": "listen", "by": "other", **PORT}},
    {"calls": {"call": "bind", "times": 2, **PORT}},
    {"no_others": True},
    {"invariants": ["main_binds_and_listens", "descriptors_bounded"]},
]
#: About the calls of Envoy alone, whoever else has its sockets.
ALONE = [
    {"never": {"call": "listen", "by": "other"}},
    {"listener": {"port": 80}, "served_by": "workers"},
    {"process": {"stays_up": True}},
]


def send(trace: TraceBuilder, *fds: int, call: str = "sendmsg") -> None:
    trace.call(trace.main, call, 1, fd=7, fds=list(fds), truncated=False)


def receive(trace: TraceBuilder, *fds: int, by: int = 0, call: str = "recvmsg") -> None:
    event = trace.call(by or trace.main, call, 1, fd=8, fds=list(fds), truncated=False)
    event.pid = by or trace.main


def started() -> tuple[TraceBuilder, list[int]]:
    trace = TraceBuilder(2, listeners=RECORDS)
    fds = trace.reuse_port_listener(PLACE)
    trace.shared_listener("0.0.0.0:80")
    return trace, fds


def verdict(trace: TraceBuilder, *items: dict[str, Any]) -> Verdict:
    # The closed world knows the other listener as well.
    named = [{"listener": {"port": 80}, "bound": {"times": 1}}, *items]
    parsed = [parse_expectation(item) for item in named]
    return judge(trace.build(), list(enumerate(parsed)), workers=2)


def status(trace: TraceBuilder, item: dict[str, Any]) -> Status:
    items = [{**PORT, "bound": {}}, item] if "no_others" in item else [item]
    found = verdict(trace, *items)
    return next(f.status for f in reversed(found.findings) if f.path[1] == len(items))


@pytest.mark.parametrize("item", ITEMS, ids=str)
@pytest.mark.parametrize("call", ["sendmsg", "sendmmsg"])
def test_what_depends_on_a_socket_that_was_sent_away_is_left_open(
    item: dict[str, Any], call: str
) -> None:
    trace, fds = started()
    assert status(trace, item) is PASS
    send(trace, fds[0], call=call)
    assert status(trace, item) is INCONCLUSIVE


@pytest.mark.parametrize("item", ITEMS, ids=str)
@pytest.mark.parametrize("call", ["sendmsg", "sendmmsg", "recvmsg", "recvmmsg"])
def test_message_with_more_than_its_record_holds_may_carry_any_socket(
    item: dict[str, Any], call: str
) -> None:
    trace, _ = started()
    trace.call(trace.main, call, 3, fd=8, fds=[], truncated=True)
    assert status(trace, item) is INCONCLUSIVE


@pytest.mark.parametrize("item", ALONE, ids=str)
def test_what_does_not_depend_on_it_is_judged(item: dict[str, Any]) -> None:
    trace, fds = started()
    send(trace, fds[0])
    assert status(trace, item) is PASS


def test_reason_and_evidence_name_the_message() -> None:
    trace, fds = started()
    send(trace, fds[0])
    finding = verdict(trace, {**PORT, "served_by": "workers"}).findings[-1]
    assert (
        words_of(finding).reason
        == f"the socket of {PLACE} was sent to a process that is not traced"
    )
    assert [event.call for event in finding.evidence].count("sendmsg") == 1


def test_violation_that_was_seen_stands_whoever_has_the_socket() -> None:
    trace, fds = started()
    send(trace, fds[0])
    trace.epoll_add(trace.main, fds[0])
    assert status(trace, {**PORT, "served_by": "workers"}) is FAIL
    assert status(trace, {**PORT, "listen_calls": {"times": 1}}) is FAIL


def test_socket_that_a_traced_process_received_is_known() -> None:
    trace, fds = started()
    made = {"child_pid": HELPER, "child_tid": HELPER, "thread": False}
    trace.call(trace.main, "fork", None, **made)
    trace.call(HELPER, "close", 0, fd=fds[0]).pid = HELPER
    trace.call(HELPER, "close", 0, fd=fds[1]).pid = HELPER
    send(trace, fds[0])
    assert status(trace, {**PORT, "served_by": "workers"}) is INCONCLUSIVE
    receive(trace, 60, by=HELPER)
    assert status(trace, {**PORT, "served_by": "workers"}) is PASS
    assert status(trace, {**PORT, "descriptors": {"live": 3}}) is PASS


@pytest.mark.parametrize("item", ITEMS, ids=str)
@pytest.mark.parametrize("call", ["recvmsg", "recvmmsg"])
def test_socket_from_outside_may_be_one_of_any_listener(item: dict[str, Any], call: str) -> None:
    trace, _ = started()
    receive(trace, 60, call=call)
    assert status(trace, item) is INCONCLUSIVE


def test_socket_from_outside_that_asks_its_name_is_of_that_listener_alone() -> None:
    trace, _ = started()
    receive(trace, 60)
    name = {"fd": 60, "address": Address.inet("0.0.0.0", 15006)}
    trace.call(trace.main, "getsockname", 0, **name)
    found = verdict(trace, {**PORT, "bound": {"times": 2}}).findings
    assert [finding.status for finding in found] == [PASS, INCONCLUSIVE]
    assert "recvmsg" in [event.call for event in found[-1].evidence]


def test_other_descriptors_in_messages_are_no_sockets_of_listeners() -> None:
    trace, _ = started()
    send(trace, 2)
    for item in ITEMS:
        assert status(trace, item) is PASS


def test_story_shows_who_handed_a_socket_to_whom() -> None:
    trace, fds = started()
    made = {"child_pid": HELPER, "child_tid": HELPER, "thread": False}
    trace.call(trace.main, "fork", None, **made)
    send(trace, fds[0])
    receive(trace, 60, by=HELPER)
    send(trace, fds[1])
    built = trace.build()
    graph = fold(built)
    text = " ".join(" ".join(story_lines(story_of(built, graph, certify(built, graph)))).split())
    assert f"passed by main/{trace.main} to thread/{HELPER}" in text
    assert f"passed by main/{trace.main} to a process that is not traced" in text
