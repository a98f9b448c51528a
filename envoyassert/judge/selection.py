"""Which kernel sockets a selector means."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from envoyassert.addresses import Address, canonical_host
from envoyassert.graph.model import Call, KernelSocket, SocketGraph
from envoyassert.scenario.expectation import Selector
from envoyassert.trace import ListenerRecord


class ChosenSockets(Selector):
    """A selector whose variable stands for these sockets, by their number in the graph."""

    numbers: frozenset[Hashable]

    def __str__(self) -> str:
        return f"socket {self.socket}"


@dataclass(frozen=True)
class Selection:
    """The outcome of a selector.

    Args:
        sockets: kernel sockets that were bound to the listener's address.
        failed: binds to the listener's address that failed.
        problem: why the selector cannot be resolved, or "".
    """

    sockets: tuple[KernelSocket, ...] = ()
    failed: tuple[Call, ...] = ()
    problem: str = ""

    @property
    def members(self) -> set[int]:
        """`id()` of every socket that was bound to the address, or failed to be."""
        attempts = {id(call.descriptor.socket) for call in self.failed if call.descriptor}
        return attempts | {id(socket) for socket in self.sockets}


def select_each(
    selector: Selector, graph: SocketGraph, listeners: tuple[ListenerRecord, ...]
) -> dict[str, Selection]:
    """Resolve a selector by name for each address of the listener by itself, by the address.

    A selector by address, or one that cannot be resolved, has one part, called "".
    """
    records = [record for record in listeners if record.name == selector.name]
    if selector.name is None or selector.address is not None or len(records) != 1:
        return {"": select(selector, graph, listeners)}
    addresses = records[0].addresses
    return {
        str(address): _of_addresses(records[0], (address,), graph, listeners)
        for address in addresses
    }


def select(
    selector: Selector,
    graph: SocketGraph,
    listeners: tuple[ListenerRecord, ...],
    *,
    total: bool = False,
) -> Selection:
    """Resolve a selector.

    A port alone that fits sockets of several protocols or addresses is a problem, not a guess.

    Args:
        selector: which listener.
        graph: the sockets.
        listeners: listeners by the config.
        total: whether the sockets of all addresses of a listener are meant, if it has several.
    """
    if isinstance(selector, ChosenSockets):
        chosen = selector.numbers
        return Selection(tuple(socket for socket in graph.candidates if socket.number in chosen))
    if selector.name is not None:
        return _by_name(selector, graph, listeners, total)
    key = selector.port or selector.path or f"@{selector.abstract}"
    candidates = graph.by_place.get(key, [])
    bound = [socket for socket in candidates if _fits(selector, socket, socket.address)]
    failed = [
        (socket, call)
        for socket in candidates
        for call in socket.failed_binds
        if _fits(selector, socket, socket.asked_for(call))
    ]
    places = {(socket.protocol_name, str(socket.address)) for socket in bound}
    places |= {(socket.protocol_name, str(socket.asked_for(call))) for socket, call in failed}
    unknown = [s for s in (*bound, *(s for s, _ in failed)) if s.protocol_name == "unknown"]
    if unknown and len({*bound, *(socket for socket, _ in failed)}) > 1:
        return Selection(tuple(bound), problem=f"{selector}: a socket's protocol is not known")
    if len(places) > 1:
        found = ", ".join(sorted(f"{protocol} {address}" for protocol, address in places))
        return Selection(
            problem=f"{selector} is ambiguous: {found}; add address, protocol or netns"
        )
    return Selection(tuple(bound), tuple(call for _, call in failed))


def _fits(selector: Selector, socket: KernelSocket, address: Address | None) -> bool:
    if address is None:
        return False
    if selector.protocol is not None and socket.protocol_name != selector.protocol:
        return False
    if selector.path is not None or selector.abstract is not None:
        return (
            address.family == "AF_UNIX"
            and address.path == selector.path
            and address.abstract == selector.abstract
        )
    if not address.is_ip or address.port != selector.port:
        return False
    if selector.namespace not in (None, address.netns):
        return False
    if selector.address is None:
        return True
    return address.host == canonical_host(selector.address)


def _by_name(
    selector: Selector, graph: SocketGraph, listeners: tuple[ListenerRecord, ...], total: bool
) -> Selection:
    records = [record for record in listeners if record.name == selector.name]
    if not records:
        known = ", ".join(record.name for record in listeners) or "none"
        return Selection(problem=f"the config has no listener {selector.name!r}; it has: {known}")
    if len(records) > 1:
        return Selection(problem=f"the config has {len(records)} listeners {selector.name!r}")
    record = records[0]
    addresses = record.addresses
    if selector.address is not None:
        wanted = canonical_host(selector.address)
        addresses = tuple(address for address in addresses if address.host == wanted)
    if len(addresses) > 1 and not total:
        found = ", ".join(str(address) for address in addresses)
        return Selection(
            problem=f"listener {selector.name!r} has several addresses: {found}; "
            "take: each_address or total"
        )
    return _of_addresses(record, addresses, graph, listeners)


def _of_addresses(
    record: ListenerRecord,
    addresses: tuple[Address, ...],
    graph: SocketGraph,
    listeners: tuple[ListenerRecord, ...],
) -> Selection:
    twins = sum(address in r.addresses for r in listeners for address in addresses)
    if graph.gaps and twins > 1 and any(address.port == 0 for address in addresses):
        return Selection(problem="listeners on port 0 are told apart by order, and events are lost")
    sockets: list[KernelSocket] = []
    failed: list[Call] = []
    for address in addresses:
        bound, refused = sockets_of(record, address, graph, listeners)
        sockets += bound
        failed += refused
    return Selection(tuple(sockets), tuple(failed))


def sockets_of(
    record: ListenerRecord,
    address: Address,
    graph: SocketGraph,
    listeners: tuple[ListenerRecord, ...],
) -> tuple[list[KernelSocket], list[Call]]:
    """Return the sockets bound to one configured address, and the binds to it that failed.

    Where port 0 was asked for, the k-th listener with that address has the k-th socket that was
    bound to port 0, and all that were bound to the port which that one learned.
    """
    mine = [s for s in graph.candidates if _same_protocol(record, s)]
    failed = [
        call for socket in mine for call in socket.failed_binds if socket.asked_for(call) == address
    ]
    if address.port != 0:
        return [s for s in mine if address in (s.address, s.requested)], failed
    roots = [socket for socket in mine if socket.requested == address]
    rank = 0
    for other in listeners:
        if other is record:
            break
        rank += other.protocol == record.protocol and address in other.addresses
    rank += sum(a == address for a in record.addresses[: record.addresses.index(address)])
    if rank >= len(roots):
        return [], failed
    learned = roots[rank].address
    return [s for s in mine if s is roots[rank] or s.requested == learned], failed


def _same_protocol(record: ListenerRecord, socket: KernelSocket) -> bool:
    if record.protocol == "TCP":
        return socket.protocol_name in ("TCP", "MPTCP")
    return socket.protocol_name == record.protocol
