"""Expectations about the run as a whole: calls, order, the process, the closed world."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.draft.from_trace import draft_of_trace
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.coverage import coverage
from envoyassert.testing import TraceBuilder, parse_address
from envoyassert.texts.findings import words_of
from envoyassert.trace import UNKNOWN_STATUS, ListenerRecord, Outcome, Trace


def judged(trace: Trace, *items: dict[str, Any], **options: Any) -> Verdict:
    parsed = map(parse_expectation, items)
    return judge(trace, list(enumerate(parsed)), workers=2, **options)


def started() -> TraceBuilder:
    admin = ListenerRecord("admin", "TCP", (Address.inet("127.0.0.1", 9901),), kind="admin")
    trace = TraceBuilder(2, listeners=(admin,))
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:9901")
    trace.listen(trace.main, fd)
    trace.epoll_add(trace.main, fd)
    trace.reuse_port_listener("0.0.0.0:80")
    peer = Address.inet("127.0.0.1", 40000)
    trace.call(trace.main, "accept4", 60, fd=fd, address=peer, flags=["SOCK_NONBLOCK"])
    trace.call(trace.main, "accept4", -11, fd=fd, address=None, flags=["SOCK_NONBLOCK"])
    trace.setsockopt(trace.main, 60, "TCP_NODELAY", level="IPPROTO_TCP")
    return trace


@pytest.mark.parametrize(
    "item, status",
    [
        ({"calls": {"call": "bind", "times": 3}}, Status.PASS),
        ({"calls": {"call": "bind", "times": 2}}, Status.FAIL),
        ({"calls": {"call": ["bind", "listen"], "by": "main", "times": 6}}, Status.PASS),
        ({"calls": {"call": "bind", "listener": {"port": 80}, "times": "workers"}}, Status.PASS),
        ({"calls": {"call": "bind", "args": {"address": "0.0.0.0:80"}, "times": 2}}, Status.PASS),
        ({"calls": {"call": "bind", "args": {"address": {"port": 80}}, "times": 2}}, Status.PASS),
        ({"calls": {"call": "epoll_ctl", "by": "workers", "times": 2}}, Status.PASS),
        ({"calls": {"call": "epoll_ctl", "by": "worker_1", "times": 1}}, Status.PASS),
        # The framework's own connections to the admin endpoint are not counted as accepts…
        ({"never": {"call": "accept4"}}, Status.PASS),
        ({"never": {"call": "setsockopt", "args": {"name": "TCP_NODELAY"}}}, Status.PASS),
        # …unless they are asked for.
        ({"calls": {"call": "accept4", "listener": {"name": "admin"}, "times": 2}}, Status.PASS),
        ({"never": {"call": "accept4", "listener": {"port": 9901}}}, Status.FAIL),
        ({"never": {"call": "listen", "by": "workers"}}, Status.PASS),
        ({"never": {"call": "listen", "succeeds": True}}, Status.FAIL),
        ({"in_order": [{"call": "bind"}, {"call": "listen", "by": "main"}]}, Status.FAIL),
        ({"in_order": [{"call": "bind"}, {"call": "epoll_ctl", "by": "workers"}]}, Status.PASS),
        ({"in_order": [{"call": "bind"}, {"call": "shutdown"}]}, Status.FAIL),
        ({"no_others": True}, Status.FAIL),
        ({"no_others": {"allow": ["admin"]}}, Status.FAIL),
    ],
)
def test_item_on_a_started_envoy(item: dict[str, Any], status: Status) -> None:
    assert judged(started().build(), item).status is status


def test_closed_world_counts_every_word_that_names_a_socket() -> None:
    listener = {"listener": {"port": 80}, "sockets": 2}
    admin = {"calls": {"call": "bind", "listener": {"name": "admin"}}}
    allowed = {"no_others": {"allow": ["admin"]}}
    trace = started()
    assert judged(trace.build(), listener, allowed).status is Status.PASS
    assert judged(trace.build(), {"no_others": True}, listener, admin).status is Status.PASS
    udp = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, udp, "127.0.0.1:53")
    verdict = judged(trace.build(), listener, allowed)
    assert [words_of(f).seen for f in verdict.with_status(Status.FAIL)] == ["UDP 127.0.0.1:53"]


def test_closed_world_knows_hot_restart_sockets_by_name() -> None:
    trace = TraceBuilder(2)
    fd = trace.socket(trace.main, "AF_UNIX", "SOCK_DGRAM")
    trace.bind(trace.main, fd, "@envoy_domain_socket_child_0")
    assert judged(trace.build(), {"no_others": True}).status is Status.PASS
    assert judged(trace.build(), {"no_others": {"allow": []}}).status is Status.FAIL


def with_socket_path(given: str, bound: str, kind: str = "SOCK_DGRAM") -> TraceBuilder:
    """An Envoy that was started with `--socket-path`, and one Unix socket of it."""
    trace = TraceBuilder(2)
    trace.events[0].args["argv"] = ["envoy", "--socket-path", given, "-c", "envoy.yaml"]
    trace.bind(trace.main, trace.socket(trace.main, "AF_UNIX", kind), bound)
    return trace


@pytest.mark.parametrize(
    "given, bound, status",
    [
        ("@mine", "@mine_parent_0", Status.PASS),
        ("@mine", "@mine_udp_child_12" + "\0" * 89, Status.PASS),
        ("/run/mine", "/run/mine_udp_parent_3", Status.PASS),
        ("@mine", "@envoy_domain_socket_child_0", Status.FAIL),
        ("@mine", "/mine_parent_0", Status.FAIL),
        ("@mine", "@mine_parent", Status.FAIL),
        ("@mine", "@mine_parent_0_more", Status.FAIL),
        ("@mine", "@other_parent_0", Status.FAIL),
    ],
)
def test_closed_world_knows_hot_restart_sockets_by_the_socket_path(
    given: str, bound: str, status: Status
) -> None:
    trace = with_socket_path(given, bound).build()
    assert judged(trace, {"no_others": True}).status is status
    stream = with_socket_path(given, bound, "SOCK_STREAM")
    stream.listen(stream.main, stream.events[-1].args["fd"])
    assert judged(stream.build(), {"no_others": True}).status is Status.FAIL


def client(
    *,
    waits: str = "",
    after_ns: int = 0,
    peer: str = "127.0.0.1:443",
    ret: int = 0,
    then: str = "",
    kind: str = "SOCK_DGRAM",
) -> TraceBuilder:
    """A bound socket that connects, as that of an HTTP/3 upstream with a source address does."""
    trace = TraceBuilder(2)
    worker = trace.worker(1)
    fd = trace.socket(worker, kind=kind)
    trace.bind(worker, fd, "127.0.0.2:0")
    if waits:
        trace.epoll_add(trace.worker(1) if waits == "itself" else trace.worker(0), fd)
    trace.pass_time(after_ns)
    for place in filter(None, (peer, then)):
        address = parse_address(place) if place != "unspec" else Address("AF_UNSPEC")
        trace.call(worker, "connect", ret, fd=fd, address=address)
    trace.call(worker, "getsockname", 0, fd=fd, address=parse_address("127.0.0.2:40001"))
    if not waits:
        trace.epoll_add(worker, fd)
    return trace


@pytest.mark.parametrize("how", [{}, {"waits": "itself"}, {"waits": "itself", "after_ns": 10**8}])
def test_closed_world_leaves_out_bound_sockets_of_clients_and_says_so(how: dict[str, Any]) -> None:
    verdict = judged(client(**how).build(), {"no_others": True})
    assert verdict.status is Status.PASS
    assert words_of(verdict.findings[0]).seen == (
        "none; left out is 1 datagram socket that was connected to a peer at once: "
        "UDP 127.0.0.2:40001"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"peer": ""},  # never connected
        {"ret": -111},
        {"waits": "itself", "after_ns": 2 * 10**9},  # it took datagrams of anybody before
        {"waits": "another"},
        {"then": "unspec"},  # and takes those of anybody again
        {"peer": "unspec"},
    ],
)
def test_bound_datagram_socket_that_any_peer_reaches_is_no_client(other: dict[str, Any]) -> None:
    verdict = judged(client(**other).build(), {"no_others": True})
    assert verdict.status is Status.FAIL
    assert words_of(verdict.findings[0]).seen == "UDP 127.0.0.2:40001"
    assert words_of(verdict.findings[0]).hint == (
        "the kernel chose the port of 127.0.0.2:40001: name its listener by the name that it has "
        "in the config, or take it out of the config"
    )


def test_client_socket_whose_connect_may_be_lost_is_neither_pass_nor_fail() -> None:
    whole = client()
    lost = next(i for i, event in enumerate(whole.events) if event.call == "connect")
    verdict = judged(whole.build((lost,)), {"no_others": True})
    assert verdict.status is Status.INCONCLUSIVE


def test_start_and_draft_leave_out_hot_restart_sockets_of_another_name() -> None:
    trace = with_socket_path("@mine", "@mine_parent_0")
    trace.reuse_port_listener("127.0.0.1:80")
    item = {"startup": {"listen_to_served": {"at_most": "2s"}}}
    assert judged(trace.build(), item).status is Status.PASS
    assert [str(one.address) for one in draft_of_trace(trace.build()).sets] == ["127.0.0.1:80"]
    assert coverage(trace.build(), fold(trace.build()), []).sockets == ("TCP 127.0.0.1:80",) * 2


LIVE = Outcome(live=True, live_after_s=0.05, deadline_s=10)
MUTE = Outcome(live=None, deadline_s=10)
FORBIDDEN = Outcome(live=None, live_unknown="/ready is answered with 403", deadline_s=10)
MUTE_DEAD = Outcome(live=None, exit_code=1, deadline_s=10)
LATE = Outcome(live=False, deadline_s=10)
DEAD = Outcome(live=False, exit_code=1, deadline_s=10)
KILLED = Outcome(live=False, signal=6, deadline_s=10)
ENDED_SOMEHOW = Outcome(live=True, exit_code=UNKNOWN_STATUS, deadline_s=10)


@pytest.mark.parametrize(
    "outcome, process, status",
    [
        (LIVE, {"stays_up": True, "live": True, "within": "50ms"}, Status.PASS),
        (LIVE, {"live": True, "within": "49ms"}, Status.FAIL),
        (LIVE, {"exits": 0}, Status.FAIL),
        (LIVE, {"live": False}, Status.FAIL),
        (MUTE, {"stays_up": True}, Status.PASS),
        (MUTE, {"live": True}, Status.INCONCLUSIVE),
        (MUTE, {"live": False}, Status.INCONCLUSIVE),
        (MUTE, {"live": True, "within": "1s"}, Status.INCONCLUSIVE),
        (FORBIDDEN, {"live": False}, Status.INCONCLUSIVE),
        (MUTE_DEAD, {"exits": 1, "stays_up": False}, Status.PASS),
        (MUTE_DEAD, {"live": False}, Status.INCONCLUSIVE),
        (LATE, {"live": True}, Status.FAIL),
        (LATE, {"live": False, "stays_up": True}, Status.PASS),
        (DEAD, {"exits": 1}, Status.PASS),
        (DEAD, {"exits": "nonzero", "stays_up": False, "live": False}, Status.PASS),
        (DEAD, {"exits": 0}, Status.FAIL),
        (DEAD, {"stays_up": True}, Status.FAIL),
        (KILLED, {"exits": 1}, Status.FAIL),
        (KILLED, {"exits": "nonzero"}, Status.FAIL),
        (KILLED, {"stays_up": False}, Status.PASS),
        (ENDED_SOMEHOW, {"exits": 0}, Status.INCONCLUSIVE),
        (ENDED_SOMEHOW, {"exits": "nonzero"}, Status.INCONCLUSIVE),
        (ENDED_SOMEHOW, {"stays_up": True}, Status.FAIL),
    ],
)
def test_process_is_judged_by_its_outcome(
    outcome: Outcome, process: dict[str, Any], status: Status
) -> None:
    trace = TraceBuilder(2)
    trace.outcome = outcome
    assert judged(trace.build(), {"process": process}).status is status


def test_envoy_that_could_not_be_asked_was_not_live_if_its_main_thread_never_waited() -> None:
    trace = TraceBuilder(2)
    trace.outcome = MUTE_DEAD
    live = {"process": {"live": True}}
    moment = {"moment": {"call": "exec"}, "before": "live"}
    reason = "the config has no admin endpoint to ask"
    for item in (live, moment):
        (finding,) = judged(trace.build(), item).findings
        assert (finding.status, words_of(finding).reason) == (Status.INCONCLUSIVE, reason)
    trace.events = [event for event in trace.events if event.call == "exec"]
    assert judged(trace.build(), live).status is Status.FAIL
    assert judged(trace.build(), moment).status is Status.FAIL


def test_no_expectation_is_no_pass() -> None:
    assert judged(TraceBuilder(2).build()).status is Status.INCONCLUSIVE


IMPORTED = ("completeness", "results", "threads", "epoll", "close", "address_families")
ASSUME = ("complete", "calls_succeeded", "comm_is_role")


def imported() -> Trace:
    trace = TraceBuilder(2, unobserved=IMPORTED)
    trace.shared_listener("0.0.0.0:80")
    built = trace.build()
    built.events = [e for e in built.events if not e.call.startswith("epoll")]
    built.header = replace(built.header, launcher="")
    built.end = replace(built.end, cpus=(), marked=False, drained=False)
    return built


def test_unobserved_channels_need_assumptions_and_say_so() -> None:
    right = {"listener": {"port": 80}, "bound": {"times": 1}, "listened": {"by": "main"}}
    verdict = judged(imported(), right)
    assert verdict.status is Status.INCONCLUSIVE
    assert (
        "assume: [complete, calls_succeeded, comm_is_role]" in words_of(verdict.findings[0]).reason
    )
    verdict = judged(imported(), right, assume=ASSUME)
    assert str(verdict) == "PASS (assumed: complete, calls_succeeded, comm_is_role)"
    wrong = {**right, "bound": {"times": 2}}
    assert judged(imported(), wrong).status is Status.INCONCLUSIVE
    assert judged(imported(), wrong, assume=ASSUME).status is Status.FAIL
    assert judged(imported(), right, assume=ASSUME[:2]).status is Status.INCONCLUSIVE


def test_epoll_unobserved_leaves_served_by_open_even_with_assumptions() -> None:
    item = {"listener": {"port": 80}, "served_by": "main"}
    assert judged(imported(), item, assume=ASSUME).status is Status.INCONCLUSIVE


def test_assumptions_are_not_leant_on_where_everything_was_observed() -> None:
    verdict = judged(started().build(), {"process": {"live": True}}, assume=ASSUME)
    assert str(verdict) == "PASS"


def test_what_was_validated_is_not_validated_again_to_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    item = parse_expectation({"listener": {"port": 80}, "in_order": ["bind", "listen"]})
    trace = started().build()

    def refuse(self: BaseModel, **_data: object) -> None:
        raise AssertionError(f"a validator is made for a {type(self).__name__}")

    monkeypatch.setattr(BaseModel, "__init__", refuse)

    assert judge(trace, [(0, item)], workers=2).status is Status.PASS
