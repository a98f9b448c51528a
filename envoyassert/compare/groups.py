"""Which sockets of a run belong together, under a name that is the same in every run.

A place is what was asked of bind: protocol and address, with port 0 where the kernel was to choose,
`${rundir}` for the run directory, and `<id>` in the names of Envoy's own hot restart sockets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from envoyassert.addresses import Address
from envoyassert.calls.row import address_text
from envoyassert.graph.model import Call, KernelSocket, SocketGraph
from envoyassert.judge.selection import parts_of
from envoyassert.trace import Trace

_HOT_RESTART_ID = re.compile(r"_\d+(\\0.*|…)?$")
_FAMILIES = ("AF_INET", "AF_INET6", "AF_UNIX", "")
#: Place of sockets that came from outside the run, already bound.
_INHERITED = "(received, bound elsewhere)"


@dataclass
class SocketGroup:
    """The sockets of one place.

    Args:
        protocol: TCP, UDP, UNIX or unknown.
        place: the address that was asked for, as text that is the same in every run.
        rank: which one of several that asked the kernel for a port at the same address.
        names: the listeners of the config that have it.
        family: the address family, "" if it is not known.
        path: the file of a Unix socket as it was bound, or "".
        own: whether it is one of Envoy's own, for hot restart.
        sockets: sockets that were bound there, in order of birth.
        failed: binds to it that failed.
    """

    protocol: str
    place: str
    rank: int = 0
    names: tuple[str, ...] = ()
    family: str = ""
    path: str = ""
    own: bool = False
    sockets: list[KernelSocket] = field(default_factory=list)
    failed: list[Call] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is found by in another run."""
        return (self.protocol, self.place, self.rank)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was tried there."""
        return not self.sockets and not self.failed

    @property
    def title(self) -> str:
        """`0.0.0.0:15006 (virtualInbound)`; UDP and MPTCP are named."""
        names = [name for name in self.names if name != self.place]
        return f"{self.label} ({', '.join(names)})" if names else self.label

    @property
    def label(self) -> str:
        """The title without the names: `0.0.0.0:15006`."""
        text = self.place if self.protocol in ("TCP", "UNIX") else f"{self.protocol} {self.place}"
        return f"{text} #{self.rank + 1}" if self.rank else text


def socket_groups(trace: Trace, graph: SocketGraph) -> dict[tuple[str, str, int], SocketGroup]:
    """Return the groups of a run: one for each address of the config, and for what else was bound.

    Left out are capability probes, accepted connections, connections that Envoy made, and what is
    neither IP nor Unix.
    """
    found: dict[tuple[str, str, int], SocketGroup] = {}
    taken: set[int] = set()
    listeners = trace.header.listeners
    ranks: dict[tuple[str, str], int] = {}
    for record in listeners:
        for part in parts_of(record, graph, listeners):
            address = part.address
            group = SocketGroup(
                record.protocol_at(address), place_text(address, trace.header.rundir)
            )
            if address.port == 0:
                twin = (group.protocol, group.place)
                group.rank = ranks.get(twin, 0)
                ranks[twin] = group.rank + 1
            group = found.setdefault(group.key, group)
            group.names += (record.name,) if record.name not in group.names else ()
            members = [s for s in part.sockets if id(s) not in taken]
            for socket in members:
                _add(group, socket)
            group.failed += [call for call in part.failed if id(call) not in taken]
            group.family = address.family
            group.path = address.path or ""
            taken |= {id(call) for call in part.failed} | {id(socket) for socket in members}
    for socket in graph.candidates:
        _place_other(found, taken, socket, trace.header.rundir, ranks)
    return found


def place_text(address: Address, rundir: str) -> str:
    """Return an address as it is in every run."""
    text = address_text(address)
    return text.replace(rundir, "${rundir}") if rundir else text


def _add(group: SocketGroup, socket: KernelSocket) -> None:
    group.sockets.append(socket)
    group.own = group.own or socket.is_hot_restart


def _place_other(
    found: dict[tuple[str, str, int], SocketGroup],
    taken: set[int],
    socket: KernelSocket,
    rundir: str,
    ranks: dict[tuple[str, str], int],
) -> None:
    """Put a socket that the config does not explain into a group of its address.

    Those that asked for port 0, and may be of one listener or another, come after all of these.
    """
    if socket.family not in _FAMILIES or any(c.event.call == "connect" for c in socket.calls):
        return
    protocol = "TCP" if socket.protocol_name == "MPTCP" else socket.protocol_name
    if id(socket) not in taken and (socket.binds or socket.listens):
        address = socket.requested
        for group in found.values():
            roots = [s for s in group.sockets if s.requested and s.requested.port == 0]
            # With a port that was chosen in a namespace Envoy makes the others in its own.
            if address is not None and any(
                root.address in (address, address.within(root.address.netns))
                for root in roots
                if root.address is not None
            ):
                _add(group, socket)
                return
        group = _group(found, protocol, address, rundir, socket.is_hot_restart, ranks)
        _add(group, socket)
    for call in socket.failed_binds:
        if id(call) not in taken:
            address = socket.asked_for(call)
            _group(found, protocol, address, rundir, False, ranks).failed.append(call)


def _group(
    found: dict[tuple[str, str, int], SocketGroup],
    protocol: str,
    address: Address | None,
    rundir: str,
    own: bool,
    ranks: dict[tuple[str, str], int],
) -> SocketGroup:
    place = _INHERITED if address is None else place_text(address, rundir)
    if own:
        place = _HOT_RESTART_ID.sub("_<id>", place)
    group = SocketGroup(protocol, place, ranks.get((protocol, place), 0))
    if address is not None:
        group.family, group.path = address.family, address.path or ""
    return found.setdefault(group.key, group)
