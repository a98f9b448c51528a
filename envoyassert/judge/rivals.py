"""Which sockets the clients of a listener's IP address could reach, and who asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from envoyassert.accounts import NetworkSocket
from envoyassert.addresses import Address
from envoyassert.graph.lookup import ANY_IPV4, ANY_IPV6, Candidate, IncomingClient, is_any, unmapped
from envoyassert.graph.model import KernelSocket
from envoyassert.graph.socket_files import place_of
from envoyassert.judge.context import Context
from envoyassert.judge.kernel_account import foreign_sockets, is_put_by_scenario
from envoyassert.judge.values import Fact
from envoyassert.state import is_state

_LOOPBACK_DEVICE = "lo"


class Rivals:
    """The sockets of a listener among all that accept connections in its network namespaces.

    What the traced processes did is known at every instant; what others have is known by the
    kernel's account at the end of the phase alone.

    Args:
        context: what is judged; its graph of all processes counts.
        own: the listener's sockets.
    """

    def __init__(self, context: Context, own: Sequence[KernelSocket]) -> None:
        self._context = context
        self._own = [candidate_of(socket) for socket in own if _has_port(socket)]
        self._pids = {descriptor.pid for socket in own for descriptor in socket.descriptors}
        graph = context.whole or context.graph
        #: Bound sockets of the traced processes, open or not.
        self._sockets = {
            socket.number: socket
            for socket in graph.candidates
            if socket.binds and socket.address is not None
        }

    @cached_property
    def candidates(self) -> list[Candidate]:
        """All sockets with an IP address that accept connections, whoever has them."""
        known = [
            candidate_of(socket)
            for socket in self._sockets.values()
            if _has_port(socket) and socket.is_open_to_clients and not socket.is_client
        ]
        if is_state(self._context.trace.header.unobserved):
            known = [replace(one, since_ns=None) for one in known]
        others = [one for one in self.foreign.values() if one.protocol != "UNIX"]
        found = [*known, *map(self._foreign_candidate, others)]
        places = Counter(map(_place, found))
        # Of TCP only the members of one reuseport group listen at one place (socket(7)).
        return [
            replace(one, reuse_port=True)
            if one.protocol == "TCP" and places[_place(one)] > 1
            else one
            for one in found
        ]

    @cached_property
    def foreign(self) -> dict[Hashable, NetworkSocket]:
        """What others than the traced processes have, by what candidates are known by."""
        phases, witness = self._context.trace.phases, self._context.trace.witness
        if witness is None:
            return {}
        known = {entry.inode for entry in witness.sockets}
        for member in phases[-1].envoys if phases else ():
            if member.witness is not None:
                known |= {entry.inode for entry in member.witness.sockets}
        return {
            f"inode {one.inode}": one
            for one in foreign_sockets(witness)
            if one.inode not in known and one.address is not None
        }

    def _foreign_candidate(self, socket: NetworkSocket) -> Candidate:
        assert socket.address is not None
        phases = self._context.trace.phases
        put = {one.inode: one for one in phases[-1].strangers} if phases else {}
        driven = put.get(socket.inode)
        return Candidate(
            f"inode {socket.inode}",
            socket.protocol,
            socket.address,
            socket.v6only if socket.address.family == "AF_INET6" else False,
            socket.device,
            None if driven is None else driven.reuse_port,
            None if driven is None else driven.since_ns,
        )

    def clients_of(self, address: Address) -> Iterator[IncomingClient]:
        """Yield those who ask for an address of the listener, each kind that the kernel shows.

        Of a wildcard each address that it covers is asked for: those to which another socket is
        bound, and any other. Who asks for a loopback address comes in by the loopback device.
        """
        mine = [one for one in self._own if one.address == address]
        protocol = mine[0].protocol
        near = [
            one
            for one in (*mine, *self.candidates)
            if (one.protocol, one.address.port, one.address.netns)
            == (protocol, address.port, address.netns)
        ]
        devices = {one.device for one in mine}
        if "" in devices:
            devices |= {one.device for one in near}
        by_loopback = _LOOPBACK_DEVICE if any(one.device for one in near) else ""
        for host in sorted(_hosts(address, mine, near)):
            asked = replace(address, family="AF_INET6" if ":" in host else "AF_INET", host=host)
            loopback = unmapped(host).startswith("127.") or host == "::1"
            if not loopback:
                yield from (IncomingClient(protocol, asked, device) for device in sorted(devices))
            elif devices & {"", _LOOPBACK_DEVICE}:
                yield IncomingClient(protocol, asked, by_loopback)

    def sockets(self, holders: frozenset[Hashable]) -> list[KernelSocket]:
        """Return the traced sockets among candidates."""
        return [self._sockets[one] for one in holders if isinstance(one, int)]

    def bound_to(self, address: Address) -> list[KernelSocket]:
        """Return the traced sockets that are or were bound to an address."""
        return [socket for socket in self._sockets.values() if socket.address == address]

    def at_path(self, path: str) -> list[KernelSocket]:
        """Return the traced socket whose file is at a path, if there is one."""
        place = place_of(path)
        return [socket for socket in self._sockets.values() if socket.file == place]

    def names(self, holders: frozenset[Hashable]) -> tuple[Fact, ...]:
        """Return whose sockets these are and where."""
        found: dict[tuple[str, str], Fact] = {}
        for holder in holders:
            foreign = self.foreign.get(holder)
            if foreign is not None:
                by_scenario = is_put_by_scenario(self._context.trace, foreign)
                found["foreign", str(foreign.address)] = Fact(
                    "foreign_socket", place=foreign.address, by_scenario=by_scenario
                )
                continue
            for socket in self.sockets(frozenset({holder})):
                mine = any(d.pid in self._pids for d in socket.descriptors if d.is_open)
                code = "socket_of_this_envoy" if mine else "socket_of_another_envoy"
                found[code, str(socket.address)] = Fact(code, place=str(socket.address))
        return tuple(found[key] for key in sorted(found))


def _has_port(socket: KernelSocket) -> bool:
    return socket.address is not None and socket.address.is_ip


def candidate_of(socket: KernelSocket) -> Candidate:
    """Return a traced socket that has an IP address as the kernel's choice sees it."""
    assert socket.address is not None
    set_to = {option.name: option.value for option in socket.options}
    index = set_to.get("SO_BINDTOIFINDEX")
    device = set_to.get("SO_BINDTODEVICE") or (f"device {index}" if index else "")
    return Candidate(
        socket.number,
        "TCP" if socket.protocol_name == "MPTCP" else socket.protocol_name,
        socket.address,
        bool(set_to.get("IPV6_V6ONLY", False)),
        str(device),
        bool(set_to.get("SO_REUSEPORT", False)),
        _since_ns(socket),
    )


def _since_ns(socket: KernelSocket) -> int | None:
    """Return when the kernel began to give it clients: by listen() again after a shutdown()."""
    if socket.type == "SOCK_DGRAM":
        return socket.binds[0].event.ts_ns if socket.binds else None
    since_ns = None
    for call in socket.calls:
        if call.event.call == "shutdown":
            since_ns = None
        elif call.event.call == "listen" and call.event.ok and since_ns is None:
            since_ns = call.event.ts_ns
    return since_ns


def _place(one: Candidate) -> Hashable:
    return one.protocol, one.address, one.device


def _hosts(address: Address, mine: Sequence[Candidate], near: Sequence[Candidate]) -> set[str]:
    """Return what the clients of an address ask for."""
    if not is_any(address.host):
        return {address.host}
    hosts = {ANY_IPV6} if address.host == ANY_IPV6 else set()
    if address.host != ANY_IPV6 or not all(one.v6only for one in mine):
        hosts.add(ANY_IPV4)
    specific = {unmapped(one.address.host) for one in near if not is_any(one.address.host)}
    return hosts | {host for host in specific if (ANY_IPV6 if ":" in host else ANY_IPV4) in hosts}
