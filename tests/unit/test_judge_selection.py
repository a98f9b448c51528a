"""Which sockets a selector means: addresses that are equal, fixed ports beside port 0."""

from __future__ import annotations

from typing import Any

import pytest

from envoyassert.asserts import parse_expectation
from envoyassert.compare.groups import socket_groups
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.selection import select, select_each
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.scenario.selector import Selector
from envoyassert.testing import TraceBuilder, parse_address
from envoyassert.texts.findings import words_of
from envoyassert.trace import ListenerRecord, Trace

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
WEB: dict[str, Any] = {"name": "web"}


def judged(trace: TraceBuilder | Trace, *items: dict[str, Any]) -> Verdict:
    items_ = list(enumerate(map(parse_expectation, items)))
    return judge(trace if isinstance(trace, Trace) else trace.build(), items_, workers=2)


def status(trace: TraceBuilder | Trace, *items: dict[str, Any]) -> Status:
    return judged(trace, *items).status


def listener(*addresses: str, name: str = "web", protocol: str = "TCP") -> ListenerRecord:
    return ListenerRecord(name, protocol, tuple(map(parse_address, addresses)))


def port_zero(
    trace: TraceBuilder, host: str, learned: int, sockets: int = 2, kind: str = "SOCK_STREAM"
) -> list[int]:
    """Bind as Envoy does: the first socket to port 0, the others to the port that it learned."""
    fds = []
    for index in range(sockets):
        fd = trace.socket(trace.main, kind=kind)
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
        trace.bind(trace.main, fd, f"{host}:{learned if index else 0}")
        if not index:
            address = parse_address(f"{host}:{learned}")
            trace.call(trace.main, "getsockname", 0, fd=fd, address=address)
        fds.append(fd)
    return fds


def serve(trace: TraceBuilder, fds: list[int]) -> None:
    for fd in fds:
        trace.listen(trace.main, fd)
    for index, fd in enumerate(fds):
        trace.epoll_add(trace.worker(index % 2), fd)


def twins() -> TraceBuilder:
    """Two addresses of one listener, the same host, both port 0."""
    trace = TraceBuilder(2, listeners=(listener("127.0.0.1:0", "127.0.0.1:0"),))
    serve(trace, port_zero(trace, "127.0.0.1", 40001) + port_zero(trace, "127.0.0.1", 40002))
    return trace


def test_two_equal_addresses_of_a_listener_on_port_zero_have_sockets_of_their_own() -> None:
    for call in ("bind", "listen"):
        calls = {"call": call, "listener": WEB}
        assert status(twins(), {"calls": {**calls, "times": 4}}) is PASS
        assert status(twins(), {"calls": {**calls, "times": 2}}) is FAIL
    total = {"listener": WEB, "take": "total"}
    assert status(twins(), {**total, "sockets": {"live": 4}}, {"no_others": True}) is PASS
    assert status(twins(), {**total, "sockets": {"live": 2}}) is FAIL
    each = {"listener": WEB, "take": "each_address", "sockets": 2, "listened": {"by": "workers"}}
    verdict = judged(twins(), each)
    assert verdict.status is PASS
    assert {words_of(f).subject for f in verdict.findings} == {
        "listener web 127.0.0.1:0",
        "listener web 127.0.0.1:0 #2",
    }


def test_a_twin_without_sockets_is_seen() -> None:
    trace = TraceBuilder(2, listeners=(listener("127.0.0.1:0", "127.0.0.1:0"),))
    serve(trace, port_zero(trace, "127.0.0.1", 40001))
    each = {"listener": WEB, "take": "each_address", "sockets": 2}
    verdict = judged(trace, each)
    assert [words_of(f).subject for f in verdict.with_status(FAIL)] == [
        "listener web 127.0.0.1:0 #2"
    ]


def test_twins_of_several_listeners_count_on() -> None:
    web, other = listener("127.0.0.1:0", "127.0.0.1:0"), listener("127.0.0.1:0", name="other")
    trace = TraceBuilder(2, listeners=(web, other))
    for learned in (40001, 40002, 40003):
        serve(trace, port_zero(trace, "127.0.0.1", learned))
    selection = select(Selector(name="other"), fold(trace.build()), trace.header.listeners)
    assert {str(socket.address) for socket in selection.sockets} == {"127.0.0.1:40003"}
    places = {group.title for group in socket_groups(trace.build(), fold(trace.build())).values()}
    assert places == {"127.0.0.1:0 (web)", "127.0.0.1:0 #2 (web)", "127.0.0.1:0 #3 (other)"}


@pytest.mark.parametrize("chosen", [(40001, 40002, 40001), (40001, 40001, 40001)])
def test_twins_that_were_given_one_port_have_sockets_of_their_own(chosen: tuple[int, ...]) -> None:
    web = listener("127.0.0.1:0", "127.0.0.1:0", protocol="UDP")
    other = listener("127.0.0.1:0", name="other", protocol="UDP")
    trace = TraceBuilder(2, listeners=(web, other))
    for learned in chosen:
        fds = port_zero(trace, "127.0.0.1", learned, kind="SOCK_DGRAM")
        for index, fd in enumerate(fds):
            trace.epoll_add(trace.worker(index), fd)
    each = {"take": "each_address", "sockets": 2, "bound": {"times": 2}}
    items = [{"listener": {"name": name}, **each} for name in ("web", "other")]
    assert status(trace, *items, {"no_others": True}) is PASS
    assert status(trace, {"listener": WEB, "take": "total", "sockets": 4}) is PASS


def test_twins_are_distinguished_by_order_so_that_a_loss_leaves_them_open() -> None:
    lossy = twins().build((12,))
    calls = {"calls": {"call": "bind", "listener": WEB, "times": 4}}
    verdict = judged(lossy, calls)
    assert verdict.status is INCONCLUSIVE
    assert "identified by order" in words_of(verdict.findings[0]).reason


def test_a_failed_bind_is_counted_once_and_that_to_a_learned_port_as_well() -> None:
    trace = TraceBuilder(2, listeners=(listener("127.0.0.1:0", "127.0.0.1:0"),))
    serve(trace, port_zero(trace, "127.0.0.1", 40001, sockets=1))
    for place, ret in (("127.0.0.1:40001", -98), ("127.0.0.1:0", -12)):
        trace.bind(trace.main, trace.socket(trace.main), place, ret)
    total = {"listener": WEB, "take": "total"}
    assert status(trace, {**total, "bind_failed": {"times": 2}}) is PASS


def test_equal_addresses_with_a_fixed_port_share_their_sockets() -> None:
    trace = TraceBuilder(2, listeners=(listener("127.0.0.1:80", "127.0.0.1:80"),))
    for _ in range(2):
        trace.reuse_port_listener("127.0.0.1:80")
    total = {"listener": WEB, "take": "total", "sockets": {"live": 4}}
    assert status(trace, total, {"no_others": True}) is PASS


@pytest.mark.parametrize("more", [{}, {"address": "127.0.0.1"}, {"port": 0}])
def test_each_of_equal_addresses_is_taken_by_itself(more: dict[str, Any]) -> None:
    each = {"listener": {**WEB, **more}, "take": "each_address", "sockets": {"live": 2}}
    assert status(twins(), each) is PASS
    assert status(twins(), {**each, "sockets": {"live": 4}}) is FAIL


@pytest.mark.parametrize("host", ["::ffff:127.0.0.1", "127.0.0.1"])
def test_sockets_that_envoy_binds_to_what_an_address_maps_are_its_sockets(host: str) -> None:
    """Of [::ffff:127.0.0.1]:0 the first socket learns its port, the others ask for IPv4."""
    trace = TraceBuilder(2, listeners=(listener("[::ffff:127.0.0.1]:0"),))
    first = trace.socket(trace.main, "AF_INET6")
    trace.bind(trace.main, first, "[::ffff:127.0.0.1]:0")
    learned = parse_address("[::ffff:127.0.0.1]:40001")
    trace.call(trace.main, "getsockname", 0, fd=first, address=learned)
    second = trace.socket(trace.main)
    trace.bind(trace.main, second, f"[{host}]:40001" if ":" in host else f"{host}:40001")
    serve(trace, [first, second])
    assert status(trace, {"listener": WEB, "sockets": 2}, {"no_others": True}) is PASS


def test_protocol_beside_a_name_or_a_path_leaves_out_what_is_no_such_socket() -> None:
    trace = TraceBuilder(2, listeners=(listener("127.0.0.1:0"),))
    fd = trace.socket(trace.main, protocol=262)
    trace.bind(trace.main, fd, "127.0.0.1:0")
    for wanted, number in (("MPTCP", 1), ("TCP", 0)):
        by_name = {"listener": {**WEB, "protocol": wanted}, "sockets": number}
        assert status(trace, by_name) is PASS
    for kind, number in (("SOCK_STREAM", 1), ("SOCK_SEQPACKET", 0)):
        trace = TraceBuilder(2)
        trace.bind(trace.main, trace.socket(trace.main, "AF_UNIX", kind), "@web")
        by_abstract = {"listener": {"abstract": "web", "protocol": "UNIX"}, "sockets": number}
        assert status(trace, by_abstract) is PASS


# a fixed port beside port 0


def mixed(fixed: str = "127.0.0.1:80") -> TraceBuilder:
    trace = TraceBuilder(2, listeners=(listener(fixed, "127.0.0.1:0"),))
    trace.reuse_port_listener(fixed)
    serve(trace, port_zero(trace, "127.0.0.1", 40001))
    return trace


def test_a_port_beside_the_name_says_which_address_of_a_listener() -> None:
    for port, seen in ((80, "127.0.0.1:80"), (0, "127.0.0.1:40001")):
        item = {"listener": {**WEB, "port": port}, "sockets": {"live": 2}}
        assert status(mixed(), item) is PASS
        selection = select(
            Selector(name="web", port=port), fold(mixed().build()), mixed().header.listeners
        )
        assert {str(socket.address) for socket in selection.sockets} == {seen}
    both = [{"listener": {**WEB, "port": port}, "sockets": 2} for port in (80, 0)]
    assert status(mixed(), *both, {"no_others": True}) is PASS
    verdict = judged(mixed(), {"listener": {**WEB, "address": "127.0.0.1"}, "sockets": 2})
    assert verdict.status is INCONCLUSIVE
    assert (
        "has several addresses: 127.0.0.1:80, 127.0.0.1:0" in words_of(verdict.findings[0]).reason
    )


def test_a_loss_leaves_no_doubt_which_socket_is_on_port_zero_where_one_address_asks_for_it() -> (
    None
):
    lossy = mixed().build((len(mixed().events) - 1,))
    selection = select(Selector(name="web"), fold(lossy), lossy.header.listeners, total=True)
    assert (selection.problem, len(selection.sockets)) == (None, 4)


@pytest.mark.parametrize("wrong", [{"port": 81}, {"address": "127.0.0.2"}, {"address": "::1"}])
def test_an_address_that_the_listener_has_not_is_no_answer(wrong: dict[str, Any]) -> None:
    never = {"never": {"call": "bind", "listener": {**WEB, **wrong}}}
    verdict = judged(mixed(), never)
    assert verdict.status is INCONCLUSIVE
    assert words_of(verdict.findings[0]).reason.endswith(
        "has no such address, but 127.0.0.1:80, 127.0.0.1:0"
    )


def test_each_address_is_every_one_of_the_listener() -> None:
    parts = select_each(Selector(name="web"), fold(mixed().build()), mixed().header.listeners)
    assert list(parts) == ["127.0.0.1:80", "127.0.0.1:0"]


def test_path_and_port_zero_are_addresses_of_one_listener() -> None:
    """Envoy takes pipes and TCP together; the protocol is that of each address."""
    record = ListenerRecord("web", "UNIX", tuple(map(parse_address, ("@web", "127.0.0.1:0"))))
    trace = TraceBuilder(2, listeners=(record, listener("127.0.0.1:0", name="other")))
    trace.shared_listener("@web")
    serve(trace, port_zero(trace, "127.0.0.1", 40001))
    serve(trace, port_zero(trace, "127.0.0.1", 40002))
    chosen = {"listener": {**WEB, "address": "127.0.0.1", "port": 0, "protocol": "TCP"}}
    assert status(trace, {**chosen, "bound": {"times": 2}}) is PASS
    assert status(trace, {**chosen, "bound": {"times": 1}}) is FAIL
    other = {"listener": {"name": "other"}, "bound": {"times": 2}}
    path = {"listener": {"abstract": "web"}, "bound": {"times": 1}}
    each = {**chosen, "bound": {"times": 2}}
    assert status(trace, each, other, path, {"no_others": True}) is PASS
    built = trace.build()
    groups = socket_groups(built, fold(built)).values()
    assert [(one.protocol, one.place, one.rank, len(one.sockets)) for one in groups] == [
        ("UNIX", "@web", 0, 1),
        ("TCP", "127.0.0.1:0", 0, 2),
        ("TCP", "127.0.0.1:0", 1, 2),
    ]
