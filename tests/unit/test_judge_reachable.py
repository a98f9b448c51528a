"""`reachable_by_address`: whom the clients of a listener's address reach, by the kernel's rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envoyassert.accounts import Network, NetworkSocket, Witness
from envoyassert.addresses import Address
from envoyassert.asserts import parse_expectation
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.testing import TraceBuilder, parse_address
from envoyassert.texts.findings import words_of
from envoyassert.trace import STARTUP, ForeignSocket, ListenerRecord

PASS, FAIL, INCONCLUSIVE = Status.PASS, Status.FAIL, Status.INCONCLUSIVE
PORT = 13333
INODE = 77


def bound(
    trace: TraceBuilder,
    host: str,
    protocol: str = "TCP",
    *,
    compat: bool = False,
    device: str = "",
    reuse_port: bool = True,
) -> None:
    """A socket as Envoy makes it."""
    address = f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"
    kind = "SOCK_STREAM" if protocol == "TCP" else "SOCK_DGRAM"
    fd = trace.socket(trace.main, parse_address(address).family, kind)
    if ":" in host:
        trace.setsockopt(trace.main, fd, "IPV6_V6ONLY", int(not compat), level="IPPROTO_IPV6")
    trace.setsockopt(trace.main, fd, "SO_REUSEADDR")
    if reuse_port:
        trace.setsockopt(trace.main, fd, "SO_REUSEPORT")
    if device:
        event = trace.call(trace.main, "setsockopt", 0, fd=fd, level="SOL_SOCKET", length=3)
        event.args.update(name="SO_BINDTODEVICE", value=device)
    trace.bind(trace.main, fd, address)
    if protocol == "TCP":
        trace.listen(trace.main, fd)


def finding(
    trace: TraceBuilder,
    host: str,
    protocol: str = "TCP",
    beside: NetworkSocket | None = None,
    driven: ForeignSocket | None = None,
) -> Finding:
    """Judge whether clients of an address reach its listener, beside a foreign socket or not."""
    name = ListenerRecord("asked", protocol, (Address.inet(host, PORT),))
    trace.header = replace(trace.header, listeners=(name,))
    witness = Witness(1, network=Network(() if beside is None else (beside,)))
    strangers = () if driven is None else (driven,)
    trace.end_phase(STARTUP, STARTUP, witness=witness, strangers=strangers)
    item: dict[str, Any] = {"listener": {"name": "asked"}, "reachable_by_address": True}
    verdict = judge(trace.build(), [(0, parse_expectation(item))], workers=1)
    (found,) = verdict.findings
    return found


def foreign(host: str, protocol: str = "TCP", **facts: Any) -> NetworkSocket:
    return NetworkSocket(protocol, Address.inet(host, PORT), INODE, **facts)


COMPAT = {"compat": True}
#: Where the listener is, where another listener of the same Envoy is, and what is right.
PAIRS: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]], Status]] = [
    (("::ffff:127.0.0.1", COMPAT), ("127.0.0.1", {}), FAIL),
    (("127.0.0.1", {}), ("::ffff:127.0.0.1", COMPAT), PASS),
    (("::ffff:127.0.0.1", COMPAT), ("0.0.0.0", {}), PASS),
    (("::ffff:127.0.0.1", COMPAT), ("127.0.0.2", {}), PASS),
    (("0.0.0.0", {}), ("127.0.0.1", {}), FAIL),
    (("0.0.0.0", {}), ("::ffff:127.0.0.1", COMPAT), FAIL),
    (("127.0.0.1", {}), ("0.0.0.0", {}), PASS),
    (("0.0.0.0", {}), ("::", {}), PASS),
    (("0.0.0.0", {}), ("::", COMPAT), PASS),
    (("::", {}), ("0.0.0.0", {}), PASS),
    (("::", COMPAT), ("0.0.0.0", {}), FAIL),
    (("::", COMPAT), ("127.0.0.1", {}), FAIL),
    (("::", {}), ("127.0.0.1", {}), PASS),
    (("::", {}), ("::1", {}), FAIL),
    (("::1", {}), ("::", COMPAT), PASS),
    (("0.0.0.0", {}), ("10.0.0.1", {"device": "eth0"}), FAIL),
    (("10.0.0.1", {"device": "eth0"}), ("0.0.0.0", {}), PASS),
    (("0.0.0.0", {"device": "eth0"}), ("10.0.0.1", {"device": "eth1"}), PASS),
    # No client that asks for a loopback address comes in by another device than the loopback.
    (("127.0.0.1", {}), ("127.0.0.1", {"device": "eth0"}), PASS),
    (("127.0.0.1", {"device": "eth0"}), ("::1", {}), FAIL),
    (("127.0.0.1", {"device": "lo"}), ("::1", {}), PASS),
]


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("own, other, wanted", PAIRS)
def test_listener_beside_another_of_the_same_envoy(
    own: tuple[str, dict[str, Any]],
    other: tuple[str, dict[str, Any]],
    wanted: Status,
    protocol: str,
) -> None:
    trace = TraceBuilder(1)
    bound(trace, own[0], protocol, **own[1])
    bound(trace, other[0], protocol, **other[1])
    assert finding(trace, own[0], protocol).status is wanted


def test_failure_says_who_is_reached_instead_and_whose_it_is() -> None:
    trace = TraceBuilder(1)
    bound(trace, "::ffff:127.0.0.1", compat=True)
    bound(trace, "127.0.0.1")
    said = words_of(finding(trace, "::ffff:127.0.0.1")).seen
    assert said == (
        f"clients of [::ffff:127.0.0.1]:{PORT} reach another socket of this Envoy at "
        f"127.0.0.1:{PORT}, at this instant"
    )


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize(
    "own, other, wanted",
    [
        (("::ffff:127.0.0.1", COMPAT), foreign("127.0.0.1"), FAIL),
        (("127.0.0.1", {}), foreign("::ffff:127.0.0.1", v6only=False), PASS),
        (("::", COMPAT), foreign("0.0.0.0"), FAIL),
        (("0.0.0.0", {}), foreign("::", v6only=False), PASS),
        (("0.0.0.0", {}), foreign("127.0.0.1"), FAIL),
        (("10.0.0.1", {}), foreign("10.0.0.1", device="eth0"), FAIL),
        (("127.0.0.1", {}), foreign("127.0.0.1", device="eth0"), PASS),
    ],
)
def test_listener_beside_a_foreign_socket(
    own: tuple[str, dict[str, Any]], other: NetworkSocket, wanted: Status, protocol: str
) -> None:
    trace = TraceBuilder(1)
    bound(trace, own[0], protocol, reuse_port=False, **own[1])
    found = finding(trace, own[0], protocol, replace(other, protocol=protocol))
    # Only a foreign socket that is not known to be in its place by its order may leave it open.
    assert found.status is wanted, words_of(found).seen


@pytest.mark.parametrize(
    "reuse_port, later, wanted",
    [(True, True, FAIL), (True, False, FAIL), (False, True, FAIL), (False, False, PASS)],
)
def test_foreign_socket_of_the_scenario_on_the_same_udp_port_is_known_by_its_order(
    reuse_port: bool, later: bool, wanted: Status
) -> None:
    trace = TraceBuilder(1)
    bound(trace, "127.0.0.1", "UDP")
    address = Address.inet("127.0.0.1", PORT)
    since_ns = trace.events[-1].ts_ns + 1 if later else 1
    driven = ForeignSocket("UDP", address, False, reuse_port, INODE, since_ns)
    found = finding(trace, "127.0.0.1", "UDP", foreign("127.0.0.1", "UDP"), driven)
    assert found.status is wanted
    assert wanted is PASS or "put there by the scenario" in words_of(found).seen


def test_foreign_socket_whose_order_is_not_known_leaves_it_open() -> None:
    trace = TraceBuilder(1)
    bound(trace, "127.0.0.1", "UDP")
    found = finding(trace, "127.0.0.1", "UDP", foreign("127.0.0.1", "UDP"))
    assert (found.status, words_of(found).seen) == (INCONCLUSIVE, "not known")
    assert f"a foreign socket at 127.0.0.1:{PORT} depends on their order" in words_of(found).reason


def test_foreign_socket_that_listens_at_the_same_place_over_tcp_is_in_the_group() -> None:
    trace = TraceBuilder(1)
    bound(trace, "127.0.0.1")
    found = finding(trace, "127.0.0.1", beside=foreign("127.0.0.1"))
    assert found.status is FAIL
