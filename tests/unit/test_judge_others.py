"""The closed world: what belongs to `no_others` beside sockets that listen."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.graph.fold import fold
from envoyassert.judge.context import Context
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.testing import TraceBuilder
from envoyassert.texts.findings import words_of
from envoyassert.words.no_others import NoOthersExpectation, judge_no_others

PLACE = "127.0.0.1:15006"
PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
NAMED: dict[str, Any] = {"listener": {"port": 15006}, "bound": {"times": 1}}


def found(more: Callable[[TraceBuilder], None], lost: int = 0) -> Finding:
    """Judge a start with one listener to which something was added."""
    trace = TraceBuilder(2)
    trace.shared_listener(PLACE)
    more(trace)
    trace.call(trace.main, "epoll_wait", None, epfd=5)
    built = trace.build()
    if lost:
        cpus = tuple(replace(cpu, emitted=cpu.emitted + 1, dropped=1) for cpu in built.end.cpus)
        built = replace(built, end=replace(built.end, cpus=cpus))
    items = map(parse_expectation, (NAMED, {"no_others": True}))
    return judge(built, list(enumerate(items)), workers=2).findings[-1]


def raw(trace: TraceBuilder) -> None:
    trace.socket(trace.main, "AF_INET6", "SOCK_RAW", 58)


def packet(trace: TraceBuilder) -> None:
    trace.socket(trace.main, "AF_PACKET", "SOCK_DGRAM", 8)


def vsock(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main, "AF_VSOCK")
    trace.call(trace.main, "bind", 0, fd=fd, address=Address("AF_VSOCK"))
    trace.listen(trace.main, fd)


def bound(trace: TraceBuilder) -> None:
    trace.bind(trace.main, trace.socket(trace.main), "127.0.0.1:15007")


def bound_and_closed(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:15007")
    trace.close(trace.main, fd)


def sctp(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main, "AF_INET", "SOCK_STREAM", 132)
    trace.bind(trace.main, fd, "127.0.0.1:15007")
    trace.listen(trace.main, fd)


def netlink(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main, "AF_NETLINK", "SOCK_RAW")
    trace.call(trace.main, "bind", 0, fd=fd, address=Address("AF_NETLINK"))


def client(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main)
    trace.bind(trace.main, fd, "127.0.0.1:0")
    there = Address.inet("127.0.0.1", 80)
    trace.call(trace.main, "connect", -111, fd=fd, address=there)


def probe(trace: TraceBuilder) -> None:
    fd = trace.socket(trace.main, "AF_PACKET", "SOCK_DGRAM")
    trace.close(trace.main, fd)


def question_for_ipv6(trace: TraceBuilder) -> None:
    """What gRPC's own C core does before it connects."""
    fd = trace.socket(trace.main, "AF_INET6")
    trace.bind(trace.main, fd, "[::1]:0")
    trace.close(trace.main, fd)


def kept_port_of_ipv6(trace: TraceBuilder) -> None:
    trace.bind(trace.main, trace.socket(trace.main, "AF_INET6"), "[::1]:0")


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        (raw, "raw of protocol 58 without an address"),
        (packet, "AF_PACKET without an address"),
        (vsock, "AF_VSOCK AF_VSOCK"),
        (bound, "TCP 127.0.0.1:15007"),
        (bound_and_closed, "TCP 127.0.0.1:15007"),
        (kept_port_of_ipv6, "TCP [::1]:0"),
        (sctp, "stream of protocol 132 127.0.0.1:15007"),
    ],
)
def test_what_could_be_reached_or_holds_an_address_is_another(
    more: Callable[[TraceBuilder], None], seen: str
) -> None:
    finding = found(more)
    assert (finding.status, words_of(finding).seen) == (FAIL, seen)


@pytest.mark.parametrize("more", [netlink, client, probe, question_for_ipv6])
def test_netlink_clients_and_probes_are_no_others(more: Callable[[TraceBuilder], None]) -> None:
    assert found(more).status is PASS


def test_bind_that_was_the_last_thing_a_thread_did_may_be_that_of_a_client() -> None:
    def by_worker(trace: TraceBuilder) -> None:
        worker = trace.worker(0)
        trace.bind(worker, trace.socket(worker), "127.0.0.1:0")

    assert found(by_worker).status is PASS


@pytest.mark.parametrize(("more", "status"), [(raw, FAIL), (packet, FAIL), (bound, INCONCLUSIVE)])
def test_loss_leaves_what_a_birth_says(
    more: Callable[[TraceBuilder], None], status: Status
) -> None:
    assert found(more, lost=1).status is status


def test_sockets_that_are_named_are_put_together_once_not_for_each_socket() -> None:
    unions = []

    class Named(frozenset[int]):
        def __or__(self, other: AbstractSet[Any]) -> frozenset[Any]:
            unions.append(other)
            return super().__or__(other)

    trace = TraceBuilder(2)
    for port in range(15006, 15010):
        trace.reuse_port_listener(f"127.0.0.1:{port}")
    built = trace.build()
    graph = fold(built)
    named = Named(id(socket) for socket in graph.candidates)
    item = NoOthersExpectation(no_others=True)

    (finding,) = judge_no_others(Context(built, graph, 2, named=named), 0, item)

    assert finding.status is PASS
    assert len(unions) == 1
