"""Runs of several Envoys: what one of them did, and whose socket a client reaches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import Network, NetworkSocket, Witness
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.cut import cut, focus
from envoyassert.judge.judge import judge
from envoyassert.judge.timeline import bound_spans, listening_spans
from envoyassert.judge.verdict import Status
from envoyassert.testing import TraceBuilder
from envoyassert.trace import STARTUP, Member, Outcome, Trace

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PATH = "/run/local.sock"
#: Taken before the first event, so that there is nothing of the process to compare.
ALONE = Witness(1, network=Network())


def beside(protocol: str, host: str, port: int) -> Witness:
    """The account of a network in which a foreign process accepts connections."""
    foreign = NetworkSocket(protocol, Address.inet(host, port), 77)
    return replace(ALONE, network=Network((foreign,)))


def two_envoys(path: str = PATH, other: str = PATH) -> Trace:
    """Let a second Envoy start whose listener is at an address, perhaps at that of the first."""
    first = TraceBuilder(1, pid=1000, cpus=1)
    first.shared_listener(path)
    first.end_phase(STARTUP, STARTUP, witness=ALONE)
    second = TraceBuilder(2, pid=2000, cpus=1)
    second.pass_time(first._ts_ns)
    second.shared_listener(other)
    one, two = first.build(), second.build()
    shift = one.phases[-1].end_ns
    for number, event in enumerate(two.events, len(one.events) + 1):
        event.ts_ns += shift
        event.seq = number
    counters = replace(one.end.cpus[0], emitted=len(one.events) + len(two.events))
    members = (
        Member("first", 1000, 1, replace(first.outcome, exit_code=0)),
        Member("second", 2000, 2, Outcome(live=True), ALONE),
    )
    begin_ns, end_ns = shift + 1, two.events[-1].ts_ns + 1
    phase = replace(
        one.phases[0],
        name="second",
        kind="start",
        begin_ns=begin_ns,
        end_ns=end_ns,
        envoys=members,
    )
    return Trace(
        one.header,
        [*one.events, *two.events],
        replace(one.end, cpus=(counters,)),
        phases=(*one.phases, phase),
    )


def status(trace: Trace, item: dict[str, Any]) -> Status:
    return judge(trace, [(0, parse_expectation(item))], workers=1).findings[-1].status


LOCAL = {"listener": {"path": PATH}}
END = {"at_end_of": "second"}


@pytest.mark.parametrize(
    "item, wanted",
    [
        ({**LOCAL, "envoy": "first", "served_by": "workers"}, PASS),
        ({**LOCAL, "envoy": "second", "served_by": "workers"}, PASS),
        ({**LOCAL, "served_by": "workers"}, FAIL),
        ({**LOCAL, "envoy": "first", "bound": {"times": 1, "by": "main"}}, PASS),
        ({**LOCAL, "bound": {"times": 2}}, PASS),
        ({**LOCAL, "envoy": "second", "sockets": 1}, PASS),
        ({"calls": {"call": "bind", "times": 1}, "envoy": "first"}, PASS),
        ({"calls": {"call": "bind", "times": 2}}, PASS),
        ({"process": {"exits": 0}, "envoy": "first"}, PASS),
        ({"process": {"exits": 0}, "envoy": "second"}, FAIL),
        ({**LOCAL, "envoy": "third", "served_by": "workers"}, INCONCLUSIVE),
        ({**LOCAL, "envoy": "first", "reachable_by_address": True}, FAIL),
        ({**LOCAL, "envoy": "first", "reachable_by_address": False}, PASS),
        ({**LOCAL, "envoy": "second", "reachable_by_address": True}, PASS),
    ],
)
def test_expectation_is_about_one_of_several_envoys(item: dict[str, Any], wanted: Status) -> None:
    assert status(two_envoys(), {**item, **END}) is wanted


def test_second_envoy_is_not_there_before_it_was_started() -> None:
    assert status(two_envoys(), {**LOCAL, "envoy": "second", "served_by": "none"}) is INCONCLUSIVE


def test_focus_keeps_the_numbers_of_sockets() -> None:
    trace = two_envoys(other="0.0.0.0:15006")
    part = cut(trace, trace.phases[-1])
    (mine,) = [s.number for s in focus(part, {1000}).candidates]
    (other,) = [s.number for s in focus(part, {2000}).candidates]
    assert (mine, other) == (0, 1)


def test_datagram_socket_that_was_handed_over_is_bound_from_then_on() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.bind(trace.main, fd, "127.0.0.1:53")
    trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fd], truncated=False)
    received = trace.call(trace.main, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    received.pid = received.tid = 2000
    (mine,) = focus(trace.build(), {2000}).candidates
    assert bound_spans(mine) == listening_spans(mine) == [(received.ts_ns, None)]
    (its,) = focus(trace.build(), {trace.main}).candidates
    assert bound_spans(its) == [(its.binds[0].event.ts_ns, None)]


def test_socket_that_is_bound_after_it_was_handed_over_is_not_bound_before() -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main, kind="SOCK_DGRAM")
    trace.call(trace.main, "sendmsg", 1, fd=7, fds=[fd], truncated=False)
    received = trace.call(trace.main, "recvmsg", 1, fd=8, fds=[60], truncated=False)
    received.pid = received.tid = 2000
    trace.bind(trace.main, fd, "127.0.0.1:53")
    (mine,) = focus(trace.build(), {2000}).candidates
    assert bound_spans(mine) == [(trace.events[-1].ts_ns, None)]


def test_port_that_two_envoys_share_leads_to_either() -> None:
    trace = two_envoys("0.0.0.0:15006", "0.0.0.0:15006")
    shared = {"listener": {"port": 15006}, "reachable_by_address": True}
    for envoy in ("first", "second"):
        assert status(trace, {**shared, **END, "envoy": envoy}) is FAIL
    assert status(trace, shared) is PASS  # at the end of start-up the first was alone


@pytest.mark.parametrize(
    "witness, wanted",
    [
        (ALONE, PASS),
        (None, INCONCLUSIVE),
        (replace(ALONE, network=None), INCONCLUSIVE),
        (replace(ALONE, network=Network(error="refused")), INCONCLUSIVE),
        (beside("TCP", "127.0.0.1", 15006), FAIL),
        (beside("TCP", "::", 15006), PASS),
        (beside("UDP", "0.0.0.0", 15006), PASS),
        (beside("TCP", "127.0.0.1", 15007), PASS),
        (beside("TCP", "0.0.0.0", 15006), FAIL),
    ],
)
def test_foreign_socket_is_reported_by_the_account_of_the_network(
    witness: Witness | None, wanted: Status
) -> None:
    trace = TraceBuilder(1)
    trace.reuse_port_listener("0.0.0.0:15006")
    trace.end_phase(STARTUP, STARTUP, witness=witness)
    item = {"listener": {"port": 15006}, "reachable_by_address": True}
    assert status(trace.build(), item) is wanted


@pytest.mark.parametrize("only, wanted", [(1, PASS), (0, FAIL)])
def test_ipv6_wildcard_covers_ipv4_unless_it_is_v6_only(only: int, wanted: Status) -> None:
    trace = TraceBuilder(1)
    fd = trace.socket(trace.main, "AF_INET6")
    trace.setsockopt(trace.main, fd, "IPV6_V6ONLY", only, level="IPPROTO_IPV6")
    trace.bind(trace.main, fd, "[::]:15006")
    trace.listen(trace.main, fd)
    trace.end_phase(STARTUP, STARTUP, witness=beside("TCP", "127.0.0.1", 15006))
    item = {"listener": {"port": 15006}, "reachable_by_address": True}
    assert status(trace.build(), item) is wanted


def test_loss_leaves_no_answer_about_who_is_reached() -> None:
    for wanted in (True, False):
        trace = TraceBuilder(1)
        trace.reuse_port_listener("0.0.0.0:15006")
        trace.end_phase(STARTUP, STARTUP, witness=ALONE)
        item = {"listener": {"port": 15006}, "reachable_by_address": wanted}
        assert status(trace.build(lost=(9,)), item) is INCONCLUSIVE
