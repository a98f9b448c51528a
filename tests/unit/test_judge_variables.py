"""Variables that join expectations, and the budgets of a start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.addresses import Address
from envoyassert.graph.fold import fold
from envoyassert.judge.context import NOT_KNOWN
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord, Outcome, Trace
from envoyassert.trace_file import parse_trace
from envoyassert.words.registry import Expectation
from envoyassert.words.startup import startup_figures

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "0.0.0.0:15006"
PORT: dict[str, Any] = {"listener": {"port": 15006}}
ITEMS = TypeAdapter(list[Expectation])
MS = 1_000_000


def judged(trace: TraceBuilder | Trace, *items: dict[str, Any]) -> Verdict:
    built = trace.build() if isinstance(trace, TraceBuilder) else trace
    workers = built.header.concurrency
    return judge(built, list(enumerate(ITEMS.validate_python(items))), workers=workers)


def status(trace: TraceBuilder | Trace, *items: dict[str, Any]) -> Status:
    return judged(trace, *items).status


# variables


def updated(same: bool) -> TraceBuilder:
    """A socket listens twice: the same one, or one that took its number and place."""
    trace = TraceBuilder(1)
    (fd,) = trace.reuse_port_listener(PLACE)
    if not same:
        trace.close(trace.main, fd)
        trace._fd -= 1
        assert trace.socket(trace.main) == fd
        trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd, backlog=64)
    return trace


@pytest.mark.parametrize("fact", ["socket", "descriptor"])
def test_same_socket_before_and_after_an_update(fact: str) -> None:
    before = {"calls": {"call": "listen", "args": {"backlog": -1}, "let": {"it": fact}}}
    after = {"calls": {"call": "listen", "args": {"backlog": 64}, "let": {"it": fact}}}
    assert status(updated(same=True), before, after) is PASS
    verdict = judged(updated(same=False), before, after)
    assert [(f.status, f.atom) for f in verdict.findings if "let" in f.atom] == [
        (PASS, "calls.let.it"),
        (FAIL, "calls.let.it"),
    ]
    port = [{"calls": {**item["calls"], "let": {"p": "port"}}} for item in (before, after)]
    assert status(updated(same=False), *port) is PASS


@pytest.mark.parametrize("inherited", [True, False])
def test_socket_is_inherited_by_the_child(inherited: bool) -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.reuse_port_listener(PLACE)
    child = trace.main + 500
    trace.call(trace.main, "fork", None, child_pid=child, child_tid=child, thread=False)
    mine = fd
    if not inherited:
        mine = 70
        made = {"family": "AF_INET", "type": "SOCK_STREAM", "flags": [], "protocol": 0}
        trace.call(child, "socket", mine, **made).pid = child
        where = Address.inet("0.0.0.0", 15006)
        trace.call(child, "bind", 0, fd=mine, address=where).pid = child
    trace.call(child, "listen", 0, fd=mine, backlog=7).pid = child
    parent = {"calls": {"call": "listen", "args": {"backlog": -1}, "let": {"it": "socket"}}}
    of_child = {"calls": {"call": "listen", "args": {"backlog": 7}, "let": {"it": "socket"}}}
    assert status(trace, parent, of_child) is (PASS if inherited else FAIL)


def port_zero(second: int = 40001) -> TraceBuilder:
    """Two workers' sockets: the first asks for any port, the second for the one it learned."""
    asked = Address.inet("127.0.0.1", 0)
    trace = TraceBuilder(2, listeners=(ListenerRecord("in", "TCP", (asked,)),))
    fds: list[int] = []
    for place in ("127.0.0.1:0", f"127.0.0.1:{second}"):
        fd = trace.socket(trace.main)
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, place)
        if not fds:
            learned = Address.inet("127.0.0.1", 40001)
            trace.call(trace.main, "getsockname", 0, fd=fd, address=learned)
        fds.append(fd)
    trace._serve(fds, -1)
    return trace


NAMED = {"listener": {"name": "in"}, "let": {"p": "port", "mine": "socket"}}


@pytest.mark.parametrize(
    "selector, second, expected",
    [
        ({"port": "$p"}, 40001, PASS),
        ({"port": "$p"}, 40002, FAIL),
        ({"port": "$p", "address": "127.0.0.1", "protocol": "TCP"}, 40001, PASS),
        ({"socket": "$mine"}, 40001, PASS),
        ({"socket": "$mine"}, 40002, FAIL),
    ],
)
def test_variable_says_which_listener_is_meant(
    selector: dict[str, Any], second: int, expected: Status
) -> None:
    item = {"listener": selector, "sockets": "workers", "listen_calls": "workers"}
    order = {
        "in_order": [
            {"call": "bind", "listener": selector},
            {"listener": selector, "becomes": "served", "by": "workers"},
        ]
    }
    verdict = judged(port_zero(second), NAMED, item, order)
    found = {f.path[1]: f.status for f in verdict.findings}
    assert found[1] is expected
    assert expected is FAIL or found == {0: PASS, 1: PASS, 2: PASS}


@pytest.mark.parametrize(
    "items, says",
    [
        ([{"listener": {"port": "$p"}, "sockets": 2}, NAMED], "stands for nothing"),
        (
            [{**NAMED, "when": {"envoy": "<1.0"}}, {"listener": {"port": "$p"}, "sockets": 2}],
            "stands for nothing",
        ),
        ([NAMED, {"listener": {"socket": "$p"}, "sockets": 2}], "port 40001, not for sockets"),
        ([NAMED, {"listener": {"port": "$mine"}, "sockets": 2}], "not for one port"),
        (
            [
                {"calls": {"call": "connect", "times": "none", "let": {"none": "socket"}}},
                {"never": {"call": "close", "listener": {"socket": "$none"}}},
            ],
            "no socket, not for sockets",
        ),
    ],
)
def test_variable_that_stands_for_nothing_of_the_kind_is_inconclusive(
    items: list[dict[str, Any]], says: str
) -> None:
    reasons = [words_of(f).reason for f in judged(port_zero(), *items).with_status(INCONCLUSIVE)]
    assert len(reasons) == 1
    assert says in reasons[0]


@pytest.mark.parametrize("same, expected", [(True, PASS), (False, FAIL)])
@pytest.mark.parametrize("fact", ["socket", "descriptor", "thread"])
def test_variable_means_the_same_at_the_end_of_another_phase(
    same: bool, expected: Status, fact: str
) -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.reuse_port_listener(PLACE)
    trace.end_phase("startup", "startup")
    if not same:
        trace.close(trace.main, fd)
        fd = trace.socket(trace.main)
        trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.worker(0) if same else trace.main, fd, 64)
    trace.end_phase("update")
    before = {**PORT, "let": {"it": fact, "mine": "socket"}}
    after = {"at_end_of": "update", "listener": {"socket": "$mine"}, "sockets": {"live": 1}}
    assert status(trace, before, after) is expected
    again = {"call": "listen", "args": {"backlog": 64}, "let": {"it": fact}}
    joined = {"during": "update", "calls": again}
    assert status(trace, {**PORT, "let": {"it": fact}}, joined) is expected


def test_variable_after_a_loss_is_inconclusive() -> None:
    trace = port_zero()
    item = {"never": {"call": "close", "listener": {"socket": "$mine"}}}
    for index in range(len(trace.events)):
        assert status(trace.build(lost=(index,)), NAMED, item) is INCONCLUSIVE


def test_port_that_the_kernel_chose_is_the_same_on_every_socket() -> None:
    asked = Address.inet("127.0.0.1", 0)
    for second, expected in [(40001, PASS), (40002, FAIL)]:
        trace = TraceBuilder(1, listeners=(ListenerRecord("in", "TCP", (asked,)),))
        first = trace.socket(trace.main)
        trace.bind(trace.main, first, "127.0.0.1:0")
        learned = Address.inet("127.0.0.1", 40001)
        trace.call(trace.main, "getsockname", 0, fd=first, address=learned)
        other = trace.socket(trace.main)
        trace.bind(trace.main, other, f"127.0.0.1:{second}")
        trace.listen(trace.main, other, backlog=9)
        listener = {"listener": {"name": "in"}, "let": {"chosen": "port"}}
        calls = {"calls": {"call": "listen", "args": {"backlog": 9}, "let": {"chosen": "port"}}}
        assert status(trace, listener, calls) is expected


def test_thread_that_registers_is_the_one_that_serves() -> None:
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(PLACE)
    servers = {**PORT, "let": {"who": "thread"}}
    adders = {"calls": {"call": "epoll_ctl", **PORT, "let": {"who": "thread"}}}
    assert status(trace, servers, adders) is PASS
    trace.epoll_delete(trace.worker(1), fds[1])
    verdict = judged(trace, servers, adders)
    assert verdict.status is FAIL
    (failed,) = verdict.with_status(FAIL)
    assert words_of(failed).expected == "who to be worker_0 (as in: port 15006)"
    assert words_of(failed).seen == "worker_0, worker_1"


def test_variable_for_nothing_is_no_match() -> None:
    item = {**PORT, "let": {"it": "socket"}}
    assert status(TraceBuilder(1), item, item) is FAIL
    unobserved = TraceBuilder(1, unobserved=("epoll",))
    unobserved.reuse_port_listener(PLACE)
    assert status(unobserved, {**PORT, "let": {"who": "thread"}}) is INCONCLUSIVE


def test_variable_after_a_loss_is_neither_equal_nor_different() -> None:
    before = {"calls": {"call": "listen", "args": {"backlog": -1}, "let": {"it": "socket"}}}
    after = {"calls": {"call": "listen", "args": {"backlog": 64}, "let": {"it": "socket"}}}
    for same in (True, False):
        trace = updated(same)
        built = trace.build((len(trace.events) - 2,))
        found = [f for f in judged(built, before, after).findings if "let" in f.atom]
        assert {f.status for f in found} == {INCONCLUSIVE}


# budgets


def started(served: bool = True) -> TraceBuilder:
    """Binds at once, listens 20 ms later, is served 3 ms after that, and LIVE 1 ms later."""
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.pass_time(20 * MS)
    trace.listen(trace.main, fd)
    if served:
        trace.pass_time(3 * MS)
        trace.epoll_add(trace.worker(0), fd)
    trace.pass_time(MS)
    trace.reply_live(ns=MS)
    return trace


@pytest.mark.parametrize(
    "figure, right, wrong",
    [
        ("first_listen", {"at_most": "21ms"}, {"at_most": "19ms"}),
        ("first_listen", {"at_least": "19ms"}, {"at_least": "21ms"}),
        ("bind_to_listen", {"at_most": "19ms", "tolerance": "2ms"}, {"at_most": "19ms"}),
        ("listen_to_served", {"at_least": "3ms", "at_most": "4ms"}, {"at_most": "2ms"}),
        ("served_to_live", {"at_most": "3ms"}, {"at_most": "0.5ms"}),
        ("served_to_live", {"at_least": "0.5ms"}, {"at_least": "3ms"}),
    ],
)
def test_budget_kept_passes_and_exceeded_fails(
    figure: str, right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    for listener in ({}, PORT):
        assert status(started(), {"startup": {**listener, figure: right}}) is PASS
        assert status(started(), {"startup": {**listener, figure: wrong}}) is FAIL


def test_budget_between_question_and_reply_is_open() -> None:
    item = {"startup": {"served_to_live": {"at_most": "1.5ms"}}}
    assert status(started(), item) is INCONCLUSIVE


def test_live_before_served_keeps_a_budget_but_not_a_least_time() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.reply_live()
    trace.epoll_add(trace.worker(0), fd)
    assert status(trace, {"startup": {"served_to_live": {"at_most": "1ms"}}}) is PASS
    assert status(trace, {"startup": {"served_to_live": {"at_least": "1ms"}}}) is FAIL


@pytest.mark.parametrize(
    "trace, figure",
    [
        (TraceBuilder(1), "first_listen"),
        (TraceBuilder(1), "bind_to_listen"),
        (started(served=False), "listen_to_served"),
        (started(served=False), "served_to_live"),
    ],
)
def test_part_that_never_ends_keeps_no_budget(trace: TraceBuilder, figure: str) -> None:
    assert status(trace, {"startup": {figure: {"at_most": "10s"}}}) is FAIL


def test_envoy_that_is_never_live_or_not_known_to_be() -> None:
    item = {"startup": {"served_to_live": {"at_most": "10s"}}}
    trace = started()
    trace.outcome = Outcome(live=False)
    assert status(trace, item) is FAIL
    trace.outcome = Outcome(live=None)
    assert status(trace, item) is INCONCLUSIVE
    trace = started()
    trace.header = replace(trace.header, unobserved=("epoll",))
    assert status(trace, {"startup": {"listen_to_served": {"at_most": "1s"}}}) is INCONCLUSIVE
    unknown = {"listener": {"name": "x"}, "first_listen": {"at_most": 9}}
    assert status(started(), {"startup": unknown}) is INCONCLUSIVE


def test_budget_after_a_loss_is_open() -> None:
    trace = started()
    built = trace.build((len(trace.events) - 1,))
    assert status(built, {"startup": {"first_listen": {"at_most": "1s"}}}) is INCONCLUSIVE


def test_figures_leave_the_admin_endpoint_out() -> None:
    place = Address.inet("127.0.0.1", 9901)
    trace = TraceBuilder(1, listeners=(ListenerRecord("admin", "TCP", (place,), kind="admin"),))
    trace.shared_listener(str(place))
    trace.pass_time(50 * MS)
    trace.shared_listener(PLACE)
    built = trace.build()
    figures = startup_figures(built, fold(built))
    assert figures["first_listen"].low_ns > 50 * MS
    assert not figures["served_to_live"].known


def test_figures_of_a_recorded_start() -> None:
    path = Path(__file__).parents[1] / "traces" / "reuse_port_on-1.40.0.ndjson"
    trace = parse_trace(path.read_text().splitlines())
    figures = startup_figures(trace, fold(trace))
    known = [figures[name] for name in ("first_listen", "bind_to_listen", "listen_to_served")]
    assert all(figure.known and 0 < figure.low_ns == figure.high_ns < 10**10 for figure in known)
    # It was recorded before the instant of the reply was.
    assert figures["served_to_live"].value == NOT_KNOWN
