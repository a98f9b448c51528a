"""Which kernel sockets a selector means."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from envoyassert.addresses import Address, canonical_host
from envoyassert.frozen import brief_repr, frozen
from envoyassert.graph.model import Call, KernelSocket, SocketGraph, place_key
from envoyassert.judge.port_zero import shares
from envoyassert.judge.values import Fact
from envoyassert.scenario.selector import Selector
from envoyassert.trace import ListenerRecord


class ChosenSockets(Selector):
    """A selector that means these sockets alone, by their numbers in the graph."""

    numbers: frozenset[Hashable]

    def __str__(self) -> str:
        return f"socket {self.socket}"


@frozen
class Selection:
    """The outcome of a selector.

    Args:
        sockets: kernel sockets that were bound to the listener's address.
        failed: binds to the listener's address that failed.
        addresses: the addresses by the config that are meant; () if they are not known.
        problem: why the selector cannot be resolved, or None.
        possible: sockets that may be the listener's, or another's; then there is a problem.
        handed_on: sockets that were the listener's, and are another's now; with the time when that
            shows (CLOCK_MONOTONIC nanoseconds).
    """

    sockets: tuple[KernelSocket, ...] = ()
    failed: tuple[Call, ...] = ()
    problem: Fact | None = None
    addresses: tuple[Address, ...] = ()
    possible: tuple[KernelSocket, ...] = ()
    handed_on: tuple[tuple[KernelSocket, int], ...] = ()

    __repr__ = brief_repr

    @property
    def members(self) -> set[int]:
        """`id()` of every socket that was bound to the address, or failed to be."""
        attempts = {id(call.descriptor.socket) for call in self.failed if call.descriptor}
        return attempts | {id(socket) for socket in self.sockets}


@frozen
class AddressSockets:
    """The sockets of one address of a listener.

    Args:
        address: as configured, port 0 where the kernel was to choose.
        rank: how many addresses before it in the same listener are equal: each asks for a port of
            its own where that is 0.
        sockets: kernel sockets that were bound to it.
        failed: binds to it that failed.
        possible: sockets that may be its own, or those of another listener (`port_zero`).
        handed_on: sockets that were its own, and are another's now; with the time when that shows.
    """

    address: Address
    rank: int
    sockets: tuple[KernelSocket, ...]
    failed: tuple[Call, ...]
    possible: tuple[KernelSocket, ...] = ()
    handed_on: tuple[tuple[KernelSocket, int], ...] = ()

    __repr__ = brief_repr

    @property
    def title(self) -> str:
        """Its address; `127.0.0.1:0 #2` for the second that is equal."""
        return f"{self.address} #{self.rank + 1}" if self.rank else str(self.address)

    @property
    def problem(self) -> Fact | None:
        """Why it is not known which its sockets are, None if it is."""
        if not self.possible:
            return None
        places = dict.fromkeys(str(socket.address or "unbound") for socket in self.possible)
        return Fact("port_zero_open", address=self.address, places=tuple(places))


def select_each(
    selector: Selector, graph: SocketGraph, listeners: tuple[ListenerRecord, ...]
) -> dict[str, Selection]:
    """Resolve a selector by name for each address of the listener by itself, by the address.

    A selector of one address, or one that cannot be resolved, has one part, called "".
    """
    records = [record for record in listeners if record.name == selector.name]
    if selector.name is None or len(records) != 1:
        return {"": select(selector, graph, listeners)}
    parts = _meant(selector, records[0], graph, listeners)
    if len(parts) < 2 and (selector.address is not None or selector.port is not None):
        return {"": select(selector, graph, listeners)}
    return {part.title: _joined([part], graph, listeners) for part in parts}


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
        return Selection(tuple(bound), problem=Fact("protocol_unknown", listener=selector))
    if len(places) > 1:
        return Selection(problem=Fact("ambiguous", listener=selector, places=tuple(sorted(places))))
    return Selection(tuple(bound), tuple(call for _, call in failed))


def _fits(selector: Selector, socket: KernelSocket, address: Address | None) -> bool:
    if address is None:
        return False
    if selector.protocol is not None and socket.protocol_name != selector.protocol:
        return False
    return _has_place(selector, address)


def means(selector: Selector, name: str, address: Address) -> bool:
    """Return whether a selector means an address that a listener is declared at.

    Args:
        selector: which listener; one with a variable means none.
        name: the listener's name.
        address: the address.
    """
    if selector.variable:
        return False
    if selector.name is not None:
        return selector.name == name and _is_at(selector, address)
    return _has_place(selector, address)


def _has_place(selector: Selector, address: Address) -> bool:
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
        known = tuple(record.name for record in listeners)
        return Selection(problem=Fact("no_such_listener", name=selector.name, known=known))
    if len(records) > 1:
        return Selection(problem=Fact("several_listeners", name=selector.name, number=len(records)))
    record = records[0]
    parts = _meant(selector, record, graph, listeners)
    if record.addresses and not parts:
        found = tuple(map(str, record.addresses))
        return Selection(problem=Fact("no_such_address", listener=selector, addresses=found))
    if len(parts) > 1 and not total:
        found = tuple(str(part.address) for part in parts)
        return Selection(problem=Fact("several_addresses", name=selector.name, addresses=found))
    return _joined(parts, graph, listeners)


def _meant(
    selector: Selector,
    record: ListenerRecord,
    graph: SocketGraph,
    listeners: tuple[ListenerRecord, ...],
) -> list[AddressSockets]:
    """Return the addresses of a listener that a selector by name means, with their sockets."""
    return [
        replace(
            part,
            sockets=tuple(s for s in part.sockets if selector.protocol in (None, s.protocol_name)),
        )
        for part in parts_of(record, graph, listeners)
        if _is_at(selector, part.address)
    ]


def _is_at(selector: Selector, configured: Address) -> bool:
    """Whether a selector by name means this address of the listener."""
    if selector.address is not None and configured.host != canonical_host(selector.address):
        return False
    if selector.namespace not in (None, configured.netns):
        return False
    return selector.port in (None, configured.port)


def _joined(
    parts: list[AddressSockets],
    graph: SocketGraph,
    listeners: tuple[ListenerRecord, ...],
) -> Selection:
    asked = {part.address for part in parts if part.address.port == 0}
    twins = (sum(r.addresses.count(address) for r in listeners) for address in asked)
    if graph.gaps and any(number > 1 for number in twins):
        return Selection(problem=Fact("port_zero_after_loss"))
    # Two equal addresses with a port of their own share their sockets.
    sockets = {id(socket): socket for part in parts for socket in part.sockets}
    failed = {id(call): call for part in parts for call in part.failed}
    addresses = tuple(part.address for part in parts)
    possible = {id(socket): socket for part in parts for socket in part.possible}
    return Selection(
        tuple(sockets.values()),
        tuple(failed.values()),
        next((part.problem for part in parts if part.problem), None),
        addresses,
        tuple(socket for key, socket in possible.items() if key not in sockets),
        tuple(one for part in parts for one in part.handed_on if id(one[0]) not in sockets),
    )


def parts_of(
    record: ListenerRecord, graph: SocketGraph, listeners: tuple[ListenerRecord, ...]
) -> list[AddressSockets]:
    """Return the sockets of each address of a listener, in the order of the config.

    Where port 0 was asked for, these are the sockets that asked for it on behalf of the listener
    (`port_zero`), and all that were bound later to a port which one of them learned, up to the next
    socket that was given the same port.

    Args:
        record: the listener.
        graph: the sockets.
        listeners: all listeners by the config, this one among them.
    """
    parts = []
    for position, address in enumerate(record.addresses):
        rank = record.addresses[:position].count(address)
        protocol = record.protocol_at(address)
        if address.port == 0:
            parts.append(_at_port_zero(record, address, rank, graph, listeners))
            continue
        mine = _at(graph, protocol, {address})
        found = tuple(s for s in mine if address in (s.address, s.requested))
        failed = tuple(c for s in mine for c in s.failed_binds if s.asked_for(c) == address)
        parts.append(AddressSockets(address, rank, found, failed))
    return parts


def _at_port_zero(
    record: ListenerRecord,
    address: Address,
    rank: int,
    graph: SocketGraph,
    listeners: tuple[ListenerRecord, ...],
) -> AddressSockets:
    protocol, place = record.protocol_at(address), (record.name, rank)
    asking = _at(graph, protocol, {address})
    shared = shares(graph, asking, protocol, address, listeners)
    roots = [socket for socket in asking if socket.requested == address]
    found = _followed(shared.sockets.get(place, []), roots, protocol, graph)
    possible = _followed(shared.possible.get(place, []), roots, protocol, graph)
    places = {socket.address for socket in found if socket.address is not None} - {address}
    mine = _at(graph, protocol, places)
    failed = [*shared.failed.get(place, [])]
    failed += [call for s in mine for call in s.failed_binds if s.asked_for(call) in places]
    handed_on = tuple(
        (socket, until_ns)
        for root, until_ns in shared.handed_on.get(place, ())
        for socket in _followed([root], roots, protocol, graph)
    )
    return AddressSockets(address, rank, found, tuple(failed), possible, handed_on)


def _followed(
    of: list[KernelSocket], roots: list[KernelSocket], protocol: str, graph: SocketGraph
) -> tuple[KernelSocket, ...]:
    """Return sockets that asked for port 0, and those that were bound to the ports they learned."""
    found: dict[int, KernelSocket] = {}
    for root in of:
        found[root.number] = root
        if root.address is None or root.address.port == 0:
            continue  # which port it has was not asked yet
        # Linux may choose one port twice: for UDP sockets of one user with SO_REUSEPORT it takes no
        # account of each other (udp_lib_lport_inuse). Envoy binds the others before the next.
        later = (r.number for r in roots if r.number > root.number and r.address == root.address)
        end = next(later, None)
        # Of an IPv4-mapped address Envoy remembers what it maps, and binds the others to that.
        learned = (root.address, root.address.unmapped)
        for socket in _at(graph, protocol, {root.address}):
            follows = socket.requested in learned and socket.number > root.number
            if follows and (end is None or socket.number < end):
                found[socket.number] = socket
    return tuple(found.values())


def _at(graph: SocketGraph, protocol: str, places: set[Address]) -> list[KernelSocket]:
    """Return the sockets of a protocol that have to do with a port or a name, in order of birth."""
    keys = {place_key(place) for place in places}
    found = {s.number: s for key in keys for s in graph.by_place.get(key, ())}
    return [found[number] for number in sorted(found) if _same_protocol(protocol, found[number])]


def _same_protocol(protocol: str, socket: KernelSocket) -> bool:
    if protocol == "TCP":
        return socket.protocol_name in ("TCP", "MPTCP")
    return socket.protocol_name == protocol
