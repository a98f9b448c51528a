"""The kernel's choice among sockets of one port, against real clients of every kind of address."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import pytest
from pyroute2 import IPRoute

from envoyassert.addresses import Address
from envoyassert.graph.lookup import Candidate, IncomingClient, takers
from envoyassert.launch.namespace import NamespaceThread, new_namespace
from envoyassert.witness.network import ask_networks

# Not for eBPF itself: network namespaces need root as well.
pytestmark = [pytest.mark.bpf, pytest.mark.slow, pytest.mark.timeout(300)]

PORT = 7777
DEVICE = "veth0"
HERE, THERE = "10.9.0.1", "10.9.0.2"
HERE_V6, THERE_V6 = "fd09::1", "fd09::2"
#: An address without duplicate address detection (linux/if_addr.h, IFA_F_NODAD).
NODAD = 0x02
UP_S = 10

#: Address and IPV6_V6ONLY of every kind that may be bound.
PLACES = [
    ("0.0.0.0", False),
    ("127.0.0.1", False),
    (HERE, False),
    ("::", True),
    ("::", False),
    ("::1", True),
    (HERE_V6, True),
    ("::ffff:127.0.0.1", False),
    (f"::ffff:{HERE}", False),
    ("::ffff:0.0.0.0", False),
]
DEVICES = ["", "lo", DEVICE]


@dataclass(frozen=True)
class Kind:
    """A kind of socket: where it is bound, and how."""

    host: str
    v6only: bool
    device: str = ""
    reuse_port: bool = False
    netns: str = ""

    def candidate(self, number: int, protocol: str) -> Candidate:
        address = Address.inet(self.host, PORT).within(self.netns)
        return Candidate(
            number, protocol, address, self.v6only, self.device, self.reuse_port, number
        )

    def open(self, protocol: str) -> socket.socket:
        v6 = ":" in self.host
        made = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, TYPES[protocol])
        try:
            if v6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.v6only)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, self.reuse_port)
            if self.device:
                made.setsockopt(
                    socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.device.encode("ascii")
                )
            made.bind((self.host, PORT))
            if protocol == "TCP":
                made.listen()
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made


TYPES = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
KINDS = [
    Kind(*place, device, reuse) for place, device, reuse in product(PLACES, DEVICES, (False, True))
]


@dataclass(frozen=True)
class Place:
    """A network with the namespaces in which sockets and clients are made."""

    here: NamespaceThread
    there: NamespaceThread
    other: NamespaceThread

    def clients(self) -> list[tuple[NamespaceThread, str, str]]:
        """Where clients are, what they ask for, and by which device they come in."""
        inside = [(host, "lo") for host in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1")]
        # What has an address of a device and is asked from inside comes in by that device as well.
        device = [(host, DEVICE) for host in (HERE, HERE_V6, f"::ffff:{HERE}")]
        return [
            *((self.here, host, by) for host, by in (*inside, *device)),
            *((self.there, host, by) for host, by in device),
        ]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Two namespaces with a cable between them, and a third one."""
    with contextlib.ExitStack() as stack:
        threads = [new_namespace(f"envoyassert-{name}") for name in ("here", "there", "other")]
        for thread in threads:
            stack.callback(thread.close)
        here, there, _ = threads
        end = there.call(lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        stack.callback(os.close, end)
        here.call(lambda: _lay_cable(end))
        here.call(lambda: _bring_up(DEVICE, HERE, HERE_V6))
        there.call(lambda: _bring_up("veth1", THERE, THERE_V6))
        here.call(lambda: _wait_until_up(DEVICE))
        there.call(lambda: _wait_until_up("veth1"))
        yield Place(*threads)


def _lay_cable(end: int) -> None:
    with IPRoute() as ip:
        peer = {"ifname": "veth1", "net_ns_fd": end}
        ip.link("add", ifname=DEVICE, kind="veth", peer=peer)


def _bring_up(device: str, host: str, v6: str) -> None:
    with IPRoute() as ip:
        (index,) = ip.link_lookup(ifname=device)
        ip.addr("add", index=index, address=host, prefixlen=24)
        ip.addr("add", index=index, address=v6, prefixlen=64, flags=NODAD)
        ip.link("set", index=index, state="up")


def _wait_until_up(device: str) -> None:
    """Wait for the carrier, without which IPv6 has no route yet."""
    with IPRoute() as ip:
        end_s = time.monotonic() + UP_S
        while not ip.link_lookup(ifname=device, operstate="UP"):
            assert time.monotonic() < end_s, f"{device} has no carrier"


def opened(place: Place, kinds: Sequence[Kind], protocol: str) -> list[socket.socket] | None:
    """Open sockets in order; None if the kernel does not let them stand beside each other."""
    found: list[socket.socket] = []
    try:
        for kind in kinds:
            thread = place.other if kind.netns else place.here
            found.append(thread.call(partial(kind.open, protocol)))
    except OSError:
        for made in found:
            made.close()
        return None
    return found


def ask(
    thread: NamespaceThread, host: str, protocol: str, sockets: Sequence[Any]
) -> frozenset[int]:
    """Send one client, and return the number of the socket that got it; none if it is refused."""
    v6 = ":" in host
    family = socket.AF_INET6 if v6 else socket.AF_INET
    with thread.call(lambda: socket.socket(family, TYPES[protocol])) as client:
        if v6:
            client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Nothing of a connection is left behind that could count as a socket of the port.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("2i", 1, 0))
        client.settimeout(5)
        try:
            client.connect((host, PORT))
        except ConnectionRefusedError:
            return frozenset()
        if protocol == "UDP":
            client.send(b"x")
        got = set()
        for number, made in enumerate(sockets):
            with contextlib.suppress(BlockingIOError):
                if protocol == "UDP":
                    made.recv(1)
                else:
                    made.accept()[0].close()
                got.add(number)
        return frozenset(got)


def compare(place: Place, kinds: Sequence[Kind], protocol: str) -> bool:
    """Hold the choice among these sockets against every client; False if they cannot be opened."""
    sockets = opened(place, kinds, protocol)
    if sockets is None:
        return False
    known = [kind.candidate(number, protocol) for number, kind in enumerate(kinds)]
    unordered = [replace(one, since_ns=None) for one in known]
    vague = [replace(one, since_ns=None, reuse_port=None, v6only=None) for one in known]
    try:
        for thread, host, by in place.clients():
            client = IncomingClient(protocol, Address.inet(host, PORT), by)
            got = ask(thread, host, protocol, sockets)
            (said,) = takers(client, known)
            detail = (kinds, client, got, said)
            assert got <= said, detail
            assert len(got) == min(1, len(said)), detail
            assert said in takers(client, unordered), detail
            if len(kinds) < 3:  # each further one multiplies the cases
                assert any(got <= case for case in takers(client, vague)), detail
    finally:
        for made in sockets:
            made.close()
    return True


@pytest.mark.parametrize("protocol", TYPES)
def test_choice_between_any_two_sockets_is_the_kernel_s(place: Place, protocol: str) -> None:
    alone = {kind for kind in KINDS if compare(place, [kind], protocol)}
    pairs = [pair for pair in product(alone, alone) if compare(place, pair, protocol)]
    # What listens on all addresses of both families, and does not share, has the port to itself.
    selfish = {Kind("::", False)} if protocol == "TCP" else set()
    assert {kind for pair in pairs for kind in pair} == alone - selfish


@pytest.mark.parametrize("protocol", TYPES)
def test_choice_between_a_group_and_another_socket_is_the_kernel_s(
    place: Place, protocol: str
) -> None:
    groups = [kind for kind in KINDS if kind.reuse_port and kind.device != DEVICE]
    beside = set()
    for group, other in product(groups, KINDS):
        # The other one comes before, between and after the members.
        for order in ([other, group, group], [group, other, group], [group, group, other]):
            if compare(place, order, protocol):
                beside.add(group)
    assert beside == set(groups) - {
        group for group in groups if not compare(place, [group], protocol)
    }


@pytest.mark.parametrize("protocol", TYPES)
def test_socket_in_another_network_namespace_takes_no_clients(place: Place, protocol: str) -> None:
    kinds = [Kind(*bound) for bound in PLACES]
    local = [kind for kind in kinds if HERE not in kind.host and kind.host != HERE_V6]
    elsewhere = [replace(kind, netns="/run/netns/other") for kind in local]
    assert all(compare(place, pair, protocol) for pair in product(kinds, elsewhere))
    assert all(compare(place, [kind], protocol) for kind in elsewhere)


@pytest.mark.parametrize("protocol", TYPES)
def test_account_of_the_kernel_says_what_decides(place: Place, protocol: str) -> None:
    asked = set()
    for kind in KINDS:
        sockets = opened(place, [kind], protocol)
        if sockets is None:
            continue
        with sockets[0]:
            inode = os.fstat(sockets[0].fileno()).st_ino
            network = ask_networks(place.here.call)
        (shown,) = [one for one in network.sockets if one.inode == inode]
        assert (shown.address, shown.device) == (Address.inet(kind.host, PORT), kind.device)
        assert bool(shown.v6only) is kind.v6only
        asked.add((kind.host, kind.v6only))
    assert asked == set(PLACES)
