"""Who gets a client: the kernel's rules, as tests/e2e/test_lookup.py measured them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.graph.lookup import Candidate, IncomingClient, takers

PORT = 7777
A, B = "a", "b"


def socket(host: str, *words: str, since_ns: int | None = 1) -> Candidate:
    """A socket; the words say what it has: v6only, reuse_port, or the name of a device."""
    devices = [word for word in words if word not in ("v6only", "reuse_port")]
    return Candidate(
        "",
        "TCP",
        Address.inet(host, PORT),
        "v6only" in words,
        devices[0] if devices else "",
        "reuse_port" in words,
        since_ns,
    )


def got(
    asked: str, a: Candidate, b: Candidate, protocol: str = "TCP", device: str = ""
) -> set[frozenset[object]]:
    pair = [replace(a, holder=A, protocol=protocol), replace(b, holder=B, protocol=protocol)]
    return takers(IncomingClient(protocol, Address.inet(asked, PORT), device), pair)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize(
    "asked, a, b, taker",
    [
        # The address itself before a wildcard, whoever came first.
        ("127.0.0.1", socket("127.0.0.1"), socket("0.0.0.0"), A),
        ("127.0.0.2", socket("127.0.0.1"), socket("0.0.0.0"), B),
        ("::1", socket("::1"), socket("::"), A),
        ("127.0.0.1", socket("127.0.0.1", "reuse_port"), socket("::", "reuse_port"), A),
        # IPv4 before IPv6 for a client of IPv4, though the other one has the same address.
        ("127.0.0.1", socket("127.0.0.1"), socket("::ffff:127.0.0.1"), A),
        ("::ffff:127.0.0.1", socket("127.0.0.1"), socket("::ffff:127.0.0.1"), A),
        ("127.0.0.1", socket("0.0.0.0"), socket("::ffff:127.0.0.1"), B),
        ("10.0.0.1", socket("0.0.0.0"), socket("::"), A),
        ("10.0.0.1", socket("0.0.0.0"), socket("::ffff:0.0.0.0"), A),
        ("fd00::1", socket("0.0.0.0"), socket("::"), B),
        # Both families unless IPV6_V6ONLY is set.
        ("10.0.0.1", socket("127.0.0.1"), socket("::"), B),
        ("10.0.0.1", socket("127.0.0.1"), socket("::", "v6only"), None),
        ("fd00::1", socket("127.0.0.1"), socket("::", "v6only"), B),
        ("fd00::1", socket("127.0.0.1"), socket("::ffff:0.0.0.0"), None),
    ],
)
def test_client_goes_to_one_of_two(
    asked: str, a: Candidate, b: Candidate, taker: str | None, protocol: str
) -> None:
    wanted = {frozenset({taker} if taker else ())}
    for first, second in ((1, 2), (2, 1)):
        pair = replace(a, since_ns=first), replace(b, since_ns=second)
        assert got(asked, *pair, protocol) == wanted
    unordered = replace(a, since_ns=None), replace(b, since_ns=None)
    assert got(asked, *unordered, protocol) == wanted


@pytest.mark.parametrize(
    "device, taker, other_way",
    [("", A, A), ("lo", B, B), ("eth0", A, A)],
)
def test_socket_of_a_device_takes_what_comes_in_by_it(
    device: str, taker: str, other_way: str
) -> None:
    for protocol in ("TCP", "UDP"):
        pair = socket("0.0.0.0"), socket("0.0.0.0", "lo")
        assert got("10.0.0.1", *pair, protocol, device) == {frozenset({taker})}
        pair = socket("0.0.0.0", since_ns=2), socket("0.0.0.0", "lo")
        assert got("10.0.0.1", *pair, protocol, device) == {frozenset({other_way})}


def test_device_and_family_are_worth_the_same_to_tcp_and_not_to_udp() -> None:
    plain, bound = socket("0.0.0.0"), socket("::", "lo")
    later = replace(bound, since_ns=2)
    assert got("10.0.0.1", replace(plain, since_ns=2), bound, "TCP", "lo") == {frozenset({A})}
    assert got("10.0.0.1", plain, later, "TCP", "lo") == {frozenset({B})}
    assert got("10.0.0.1", plain, replace(bound, since_ns=None), "TCP", "lo") == {
        frozenset({A}),
        frozenset({B}),
    }
    for one in (bound, later):
        assert got("10.0.0.1", plain, one, "UDP", "lo") == {frozenset({B})}


def test_group_that_is_met_first_takes_all_from_a_better_one() -> None:
    plain = socket("0.0.0.0", "reuse_port", since_ns=2)
    bound = socket("0.0.0.0", "reuse_port", "lo")
    assert got("10.0.0.1", plain, bound, "TCP", "lo") == {frozenset({A})}
    assert got("10.0.0.1", plain, replace(bound, since_ns=3), "TCP", "lo") == {frozenset({B})}


def test_members_of_a_group_share_clients() -> None:
    one = socket("0.0.0.0", "reuse_port")
    assert got("10.0.0.1", one, one) == {frozenset({A, B})}
    # Another socket with SO_REUSEADDR alone is beside the group and not in it: UDP has that.
    later = replace(one, reuse_port=False, since_ns=2)
    assert got("10.0.0.1", one, later, "UDP") == {frozenset({B})}
    assert got("10.0.0.1", replace(one, since_ns=3), later, "UDP") == {frozenset({A})}
    unknown = replace(later, reuse_port=None, since_ns=None)
    assert got("10.0.0.1", one, unknown, "UDP") == {
        frozenset({A}),
        frozenset({B}),
        frozenset({A, B}),
    }


def test_what_is_not_known_of_a_socket_leaves_every_case_open() -> None:
    unknown = replace(socket("::"), v6only=None)
    assert got("10.0.0.1", socket("127.0.0.1"), unknown) == {frozenset(), frozenset({B})}
    many = [
        replace(socket("0.0.0.0"), holder=number, reuse_port=None, since_ns=None)
        for number in range(9)
    ]
    each: Sequence[frozenset[object]] = [frozenset({one.holder}) for one in many]
    assert takers(IncomingClient("TCP", Address.inet("10.0.0.1", PORT)), many) == set(each)


@pytest.mark.parametrize(
    "other",
    [
        {"address": Address.inet("127.0.0.1", PORT + 1)},
        {"address": Address.inet("127.0.0.1", PORT).within("/run/netns/blue")},
        {"protocol": "UDP"},
    ],
)
def test_client_of_another_port_protocol_or_namespace_is_refused(other: dict[str, Any]) -> None:
    elsewhere = replace(socket("127.0.0.1"), **other)
    assert takers(IncomingClient("TCP", Address.inet("127.0.0.1", PORT)), [elsewhere]) == {
        frozenset()
    }
