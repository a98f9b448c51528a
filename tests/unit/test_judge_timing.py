"""Order, durations and intervals: right, wrong, and not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from envoyassert.addresses import Address
from envoyassert.judge.judge import judge
from envoyassert.judge.timeline import common, merged, without
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.model import Scenario
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord, Outcome, Trace
from envoyassert.words.registry import Expectation

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PLACE = "0.0.0.0:15006"
PORT: dict[str, Any] = {"listener": {"port": 15006}}
BIND: dict[str, Any] = {"call": "bind", **PORT}
LISTEN: dict[str, Any] = {"call": "listen", **PORT}
SECOND = 1_000_000_000
ITEM = TypeAdapter(Expectation)


def finding(trace: TraceBuilder | Trace, item: dict[str, Any], workers: int = 2) -> Finding:
    built = trace.build() if isinstance(trace, TraceBuilder) else trace
    found = judge(built, [(0, ITEM.validate_python(item))], workers=workers).findings
    return max(found, key=lambda one: (one.status is FAIL, one.status is INCONCLUSIVE))


def status(trace: TraceBuilder | Trace, item: dict[str, Any], workers: int = 2) -> Status:
    return finding(trace, item, workers).status


def warming(gap_ns: int = 2 * SECOND, workers: int = 2) -> TraceBuilder:
    """A socket for each worker, bound; after a while all listen, and are served; LIVE follows."""
    trace = TraceBuilder(workers)
    fds = []
    for _ in range(workers):
        fd = trace.socket(trace.main)
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, PLACE)
        fds.append(fd)
    trace.pass_time(gap_ns)
    for fd in fds:
        trace.listen(trace.main, fd)
    for index, fd in enumerate(fds):
        trace.epoll_add(trace.worker(index), fd)
    trace.reply_live()
    return trace


def listens_early() -> TraceBuilder:
    """The first socket listens before the second is bound."""
    trace = TraceBuilder(2)
    for index in range(2):
        fd = trace.socket(trace.main)
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, PLACE)
        trace.listen(trace.main, fd)
        trace.epoll_add(trace.worker(index), fd)
    return trace


# order and time


@pytest.mark.parametrize(
    "item, right, wrong",
    [
        # Every bind before any listen.
        ({"in_order": [BIND, LISTEN]}, warming, listens_early),
        ({"moment": BIND, "before": LISTEN}, warming, listens_early),
        ({"moment": LISTEN, "after": BIND}, warming, listens_early),
        ({"in_order": ["start", BIND, {**PORT, "becomes": "served"}]}, warming, None),
        ({"in_order": [BIND, "start"]}, None, warming),
        # Bound but not listening for at least 2 s while warming.
        ({"between": [BIND, LISTEN], "lasts": {"at_least": "2s"}}, warming, listens_early),
        (
            {"between": [BIND, LISTEN], "lasts": {"at_least": "2s", "at_most": "2.5s"}},
            warming,
            lambda: warming(3 * SECOND),
        ),
        (
            {"between": [BIND, LISTEN], "lasts": {"at_most": "1.9s", "tolerance": "200ms"}},
            warming,
            lambda: warming(22 * SECOND // 10),
        ),
        (
            {"between": [BIND, LISTEN], "lasts": {"at_least": "2.1s", "tolerance": "200ms"}},
            warming,
            lambda: warming(18 * SECOND // 10),
        ),
        ({"moment": LISTEN, "after": BIND, "within": "2.1s"}, warming, lambda: warming(3 * SECOND)),
        (
            {"moment": BIND, "before": LISTEN, "within": "2.1s"},
            warming,
            lambda: warming(3 * SECOND),
        ),
        # One socket at a time.
        (
            {"between": [BIND, LISTEN], "lasts": {"at_most": "1ms"}, "each": "socket"},
            listens_early,
            warming,
        ),
        ({"moment": BIND, "before": LISTEN, "each": "socket"}, listens_early, None),
        # One worker at a time.
        (
            {"moment": {"call": "epoll_wait"}, "before": {"call": "epoll_ctl"}, "each": "worker"},
            warming,
            None,
        ),
        ({"moment": {"call": "epoll_wait"}, "before": LISTEN, "each": "worker"}, None, warming),
        # The first and the last.
        ({"moment": {**BIND, "which": "first"}, "before": LISTEN}, listens_early, None),
        (
            {"in_order": [{**LISTEN, "which": "first"}, {**BIND, "which": "last"}]},
            listens_early,
            warming,
        ),
        # The last worker's registration before the first LIVE reply.
        (
            {"moment": {"call": "epoll_ctl", **PORT, "by": "workers"}, "before": "live"},
            warming,
            None,
        ),
        (
            {"moment": {**PORT, "becomes": "served", "by": "workers"}, "before": "live"},
            warming,
            None,
        ),
        ({"in_order": ["live", {**PORT, "becomes": "served"}]}, None, warming),
        (
            {"between": [{**PORT, "becomes": "bound"}, "end"], "lasts": {"at_least": "2s"}},
            warming,
            listens_early,
        ),
        (
            {"between": [{**PORT, "becomes": "listening"}, LISTEN], "lasts": {"at_most": "1ms"}},
            warming,
            None,
        ),
        # What never happens.
        ({"moment": {"call": "shutdown"}, "after": "start"}, None, warming),
        ({"between": ["start", {"call": "shutdown"}], "lasts": {"at_most": "1s"}}, None, warming),
        ({"moment": {**BIND, "errno": "EPERM"}, "before": LISTEN, "each": "socket"}, None, warming),
    ],
)
def test_time_right_passes_and_wrong_fails(
    item: dict[str, Any],
    right: Callable[[], TraceBuilder] | None,
    wrong: Callable[[], TraceBuilder] | None,
) -> None:
    if right is not None:
        assert status(right(), item) is PASS
    if wrong is not None:
        assert status(wrong(), item) is FAIL


def test_registration_after_the_first_live_reply_is_late() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    trace.reply_live()
    trace.epoll_add(trace.worker(0), fd)
    item = {"moment": {**PORT, "becomes": "served"}, "before": "live"}
    assert status(trace, item, 1) is FAIL
    assert status(trace, {"moment": "live", "before": {**PORT, "becomes": "served"}}, 1) is PASS


def test_call_between_question_and_reply_has_no_order_with_the_reply() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    asked_ns = trace.events[-1].ts_ns
    trace.listen(trace.main, fd)
    listened_ns = trace.events[-1].ts_ns
    outcome = trace.outcome
    trace.outcome = replace(outcome, live_asked_ns=asked_ns + 1, live_ns=listened_ns + 500)
    item = {"moment": LISTEN, "before": "live"}
    assert status(trace, item, 1) is INCONCLUSIVE
    assert "from its question to its receipt" in words_of(finding(trace, item, 1)).reason
    trace.outcome = replace(outcome, live_asked_ns=listened_ns + 1, live_ns=listened_ns + 2)
    assert status(trace, item, 1) is PASS
    trace.outcome = replace(outcome, live_asked_ns=asked_ns, live_ns=listened_ns - 1)
    assert status(trace, item, 1) is FAIL


def test_reply_comes_after_the_accept_of_its_connection() -> None:
    place = Address.inet("127.0.0.1", 9901)
    trace = TraceBuilder(1, listeners=(ListenerRecord("admin", "TCP", (place,), kind="admin"),))
    admin = trace.socket(trace.main)
    trace.bind(trace.main, admin, str(place))
    trace.listen(trace.main, admin)
    asked_ns = trace.events[-1].ts_ns + 1
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    trace.listen(trace.main, fd)
    answered_ns = trace.events[-1].ts_ns + 1_000_000
    trace.outcome = replace(trace.outcome, live_asked_ns=asked_ns, live_ns=answered_ns)
    assert status(trace, {"moment": LISTEN, "before": "live"}, 1) is INCONCLUSIVE
    trace.call(trace.main, "accept4", 60, fd=admin, address=place, flags=["SOCK_NONBLOCK"])
    assert status(trace, {"moment": LISTEN, "before": "live"}, 1) is PASS


@pytest.mark.parametrize(
    "outcome, expected",
    [
        (Outcome(live=False, deadline_s=10), FAIL),
        (Outcome(live=False, exit_code=1), FAIL),
        (Outcome(live=None), INCONCLUSIVE),
        (Outcome(live=True, live_after_s=0.1), INCONCLUSIVE),
    ],
)
def test_live_reply_that_never_came_or_has_no_instant(outcome: Outcome, expected: Status) -> None:
    trace = warming()
    trace.outcome = outcome
    assert status(trace, {"moment": "live", "after": BIND}) is expected


def test_imported_trace_without_an_exec_has_no_start() -> None:
    trace = warming()
    del trace.events[0]
    trace.header = replace(trace.header, unobserved=("completeness",))
    built = trace.build()
    built.end = replace(built.end, cpus=())
    items = [(0, ITEM.validate_python({"moment": BIND, "after": "start"}))]
    verdict = judge(built, items, workers=2, assume=("complete",))
    assert verdict.status is INCONCLUSIVE
    assert words_of(verdict.findings[0]).reason == "the exec of Envoy was not observed"


def test_each_worker_needs_all_of_the_workers() -> None:
    item = {"moment": {"call": "epoll_wait"}, "after": "start", "each": "worker"}
    assert status(warming(), item) is PASS
    assert status(warming(), item, workers=3) is FAIL
    assert status(warming(), item, workers=0) is INCONCLUSIVE
    trace = warming()
    (wait,) = [e for e in trace.events if e.call == "epoll_wait" and e.tid == trace.worker(1)]
    wait.tid = trace.main
    assert status(trace, item) is FAIL
    assert "worker_1" in words_of(finding(trace, item)).seen


def test_socket_that_has_no_such_call_is_distinguished_from_those_that_have() -> None:
    trace = warming()
    spare = trace.socket(trace.main)
    trace.bind(trace.main, spare, PLACE)
    found = finding(trace, {"moment": BIND, "before": LISTEN, "each": "socket"})
    assert found.status is FAIL
    assert words_of(found).seen == "socket 2 (0.0.0.0:15006): no listen() on port 15006 (1 of 3)"


def test_loss_elsewhere_in_time_keeps_an_order_that_it_cannot_touch() -> None:
    item: dict[str, Any] = {"in_order": [{"call": "bind"}, {"call": "listen"}]}
    trace = warming()
    last = len(trace.events) - 1
    # What was lost after the last listen may have been a bind: that is not known.
    assert status(trace.build((last,)), item) is INCONCLUSIVE
    item = {"moment": {"call": "bind", "which": "first"}, "before": {"call": "listen"}}
    assert status(trace.build((last,)), item) is PASS
    # A violation that was seen stays one.
    assert (
        status(trace.build((last,)), {"in_order": [{"call": "listen"}, {"call": "bind"}]}) is FAIL
    )


def test_last_record_lost_leaves_only_an_upper_end_open() -> None:
    trace = warming()
    last = (len(trace.events) - 1,)
    first_listen = {"call": "listen", "which": "first"}
    item: dict[str, Any] = {"between": ["start", first_listen], "lasts": {"at_most": "3s"}}
    assert status(trace.build(last), item) is PASS
    item["lasts"] = {"at_least": "3s"}
    assert status(trace.build(last), item) is FAIL
    item = {"between": ["start", {"call": "listen", "which": "last"}], "lasts": {"at_most": "3s"}}
    assert status(trace.build(last), item) is INCONCLUSIVE


def test_argument_that_could_not_be_read_may_be_the_one_that_is_late() -> None:
    trace = TraceBuilder(1)
    trace.call(trace.main, "unlink", 0, path="/run/a")
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "/run/a")
    item = {
        "moment": {"call": "unlink", "args": {"path": "/run/a"}},
        "before": {"call": "bind"},
    }
    assert status(trace, item, 1) is PASS
    trace.call(trace.main, "unlink", 0, path=None).fault = True
    assert status(trace, item, 1) is INCONCLUSIVE


# intervals


def served_with_a_break(break_ns: int) -> TraceBuilder:
    """Two workers; one of them gives its descriptor up for a while."""
    trace = TraceBuilder(2)
    fds = trace.reuse_port_listener(PLACE)
    trace.pass_time(SECOND)
    trace.epoll_delete(trace.worker(1), fds[1])
    trace.pass_time(break_ns)
    trace.epoll_add(trace.worker(1), fds[1])
    trace.pass_time(SECOND)
    trace.call(trace.main, "unlink", 0, path="/x")
    return trace


def updated(handed_over: bool) -> TraceBuilder:
    """A listener is replaced by another of the same address, before or after it is closed."""
    trace = TraceBuilder(1)
    (old,) = trace.reuse_port_listener(PLACE)
    if handed_over:
        trace.reuse_port_listener(PLACE)
    trace.epoll_delete(trace.worker(0), old)
    trace.close(trace.worker(0), old)
    if not handed_over:
        trace.pass_time(SECOND // 1000)
        trace.reuse_port_listener(PLACE)
    trace.call(trace.main, "unlink", 0, path="/x")
    return trace


@pytest.mark.parametrize("state", ["served", "listening", "bound"])
def test_listener_is_never_without_the_state_across_an_update(state: str) -> None:
    item = {"always": {**PORT, state: True}}
    assert status(updated(handed_over=True), item, 1) is PASS
    assert status(updated(handed_over=False), item, 1) is FAIL
    assert status(updated(handed_over=False), {**item, "except_for": "1.1ms"}, 1) is PASS
    assert status(updated(handed_over=False), {**item, "except_for": "0.9ms"}, 1) is FAIL


def test_break_of_one_worker_is_one_only_where_each_must_serve() -> None:
    trace = served_with_a_break(SECOND // 10)
    everyone = {"always": {**PORT, "served": True, "by": "workers"}}
    assert status(trace, {"always": {**PORT, "served": True}}) is PASS
    assert status(trace, {"always": {**PORT, "served": True, "by": "worker_0"}}) is PASS
    found = finding(trace, everyone)
    assert found.status is FAIL
    assert words_of(found).seen.startswith("broken for 100 ms: 100 ms at +1 s")
    assert {event.call for event in found.evidence} == {"epoll_ctl"}
    assert status(trace, {**everyone, "except_for": "101ms"}) is PASS
    deleted = {"call": "epoll_ctl", "args": {"op": "EPOLL_CTL_DEL"}}
    assert status(trace, {**everyone, "until": deleted}) is PASS
    assert status(trace, {**everyone, "since": deleted}) is FAIL
    added = {"call": "epoll_ctl", "by": "worker_1", "which": "last"}
    assert status(trace, {**everyone, "since": added}) is PASS
    assert status(trace, everyone, workers=3) is FAIL
    assert status(trace, everyone, workers=0) is INCONCLUSIVE


def test_state_that_must_not_be_there_while_warming() -> None:
    trace = warming()
    refused: dict[str, Any] = {
        "always": {**PORT, "listening": False},
        "since": {**BIND, "which": "first"},
        "until": {**LISTEN, "which": "first"},
    }
    assert status(trace, refused) is PASS
    assert status(trace, {**refused, "always": {**PORT, "bound": False}}) is FAIL
    assert status(trace, {**refused, "until": {**LISTEN, "which": "last"}}) is FAIL
    assert status(trace, {**refused, "until": "end", "except_for": "1s"}) is PASS


def test_border_that_is_several_instants_is_no_border() -> None:
    found = finding(warming(), {"always": {**PORT, "bound": True}, "since": BIND})
    assert found.status is INCONCLUSIVE
    assert words_of(found).reason.endswith("is 2 instants; say which: first or last")


def test_state_that_never_was_and_stretch_that_ends_before_it_begins_fail() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, PLACE)
    served = {"always": {**PORT, "served": True}}
    assert words_of(finding(trace, served, 1)).seen == "it never was"
    assert status(trace, served, 1) is FAIL
    bound = {"always": {**PORT, "bound": True}}
    assert status(trace, {**bound, "until": LISTEN}, 1) is FAIL
    assert status(trace, {**bound, "until": "start"}, 1) is FAIL


def test_state_until_a_reply_is_open_if_it_breaks_between_question_and_reply() -> None:
    trace = TraceBuilder(1)
    (fd,) = trace.reuse_port_listener(PLACE)
    closed_ns = trace.events[-1].ts_ns + 1000
    trace.close(trace.main, fd)
    item = {"always": {**PORT, "served": True}, "until": "live"}
    for asked_ns, answered_ns, expected in [
        (closed_ns - 10, closed_ns + 10, INCONCLUSIVE),
        (closed_ns - 10, closed_ns - 5, PASS),
        (closed_ns + 5, closed_ns + 10, FAIL),
    ]:
        trace.outcome = replace(trace.outcome, live_asked_ns=asked_ns, live_ns=answered_ns)
        assert status(trace, item, 1) is expected


def test_stopped_socket_and_gone_thread_serve_no_more() -> None:
    ends: dict[str, dict[str, Any]] = {
        "shutdown": {"fd": 21, "how": "SHUT_RDWR"},
        "exit": {"status": 0, "last": False},
    }
    for call, args in ends.items():
        trace = TraceBuilder(1)
        assert trace.reuse_port_listener(PLACE) == [21]
        trace.call(trace.worker(0), call, 0, **args)
        trace.call(trace.main, "unlink", 0, path="/x")
        assert status(trace, {"always": {**PORT, "served": True}}, 1) is FAIL


def test_nothing_is_said_of_serving_where_epoll_was_not_observed() -> None:
    trace = warming()
    trace.header = replace(trace.header, unobserved=("epoll",))
    assert status(trace, {"always": {**PORT, "served": True}}) is INCONCLUSIVE
    assert status(trace, {"always": {**PORT, "listening": True}}) is PASS
    served = {**PORT, "becomes": "served"}
    assert status(trace, {"moment": served, "after": "start"}) is INCONCLUSIVE


def test_ambiguous_or_unknown_listener_leaves_time_open() -> None:
    trace = warming()
    for item in (
        {"always": {"listener": {"name": "x"}, "bound": True}},
        {"moment": {"listener": {"name": "x"}, "becomes": "bound"}, "after": "start"},
        {"moment": {"call": "bind", "listener": {"name": "x"}}, "after": "start"},
    ):
        assert status(trace, item) is INCONCLUSIVE


def test_datagram_listener_listens_from_its_bind() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, fd, "127.0.0.1:53")
    trace.epoll_add(trace.worker(0), fd)
    listener = {"listener": {"port": 53}}
    bind = {"call": "bind", **listener}
    assert status(trace, {"always": {**listener, "listening": True}, "since": bind}, 1) is PASS
    assert status(trace, {"always": {**listener, "served": True}, "since": bind}, 1) is FAIL


def test_closed_world_counts_the_listeners_that_times_name() -> None:
    for item in (
        {"always": {**PORT, "bound": True}},
        {"moment": {**PORT, "becomes": "bound"}, "after": "start"},
    ):
        items = [(0, ITEM.validate_python(item)), (1, ITEM.validate_python({"no_others": True}))]
        assert judge(warming().build(), items, workers=2).status is PASS


# stretches


def test_stretches_merge_meet_and_leave_gaps() -> None:
    assert merged([(5, 9), (1, 3), (3, 4), (8, None), (2, 2)]) == [(1, 4), (5, None)]
    assert common([(1, 4), (6, None)], [(2, 7), (9, 10)]) == [(2, 4), (6, 7), (9, 10)]
    assert without([(1, 4), (6, 8)], 0, 10) == [(0, 1), (4, 6), (8, 10)]
    assert without([(0, None)], 5, 10) == []
    assert without([], 5, 10) == [(5, 10)]


def test_model_of_a_scenario_takes_every_word() -> None:
    data = {
        "name": "x",
        "envoy": {"config": {}},
        "expect": [
            {"in_order": ["start", BIND, "live"]},
            {"moment": BIND, "before": LISTEN, "each": "socket", "within": "5s"},
            {"between": [BIND, "end"], "lasts": {"at_least": "1s"}},
            {"always": {**PORT, "served": True}, "except_for": "5ms"},
        ],
    }
    assert len(Scenario.model_validate(data).expect) == 4
