"""Whose the sockets are of which the kernel chose the port.

The address alone does not show which of several listeners asked the kernel for a port, and each
push or restart may ask again. What shows it is, in this order:

- Envoy's own list: the listener that has the port, while the process has the socket open. Sockets
  may go from one listener to another: Envoy gives those of one that drains to a listener that asks
  for the same address (ListenerManagerImpl::setNewOrDrainingSocketFactory; 1.36.4 and 1.40.0). They
  are of the one that was listed last;
- that no other listener asks for a port at that address;
- at start-up the order: Envoy binds its listeners in the order of its config, then in that of the
  control plane's answer (1.36.4 and 1.40.0). That holds as long as there are as many binds as
  addresses. With fewer it holds where Envoy ends with the first that fails: for static ones, and
  for the addresses of one listener.

What none of these shows is left open: the socket may be of any of the listeners.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from envoyassert.accounts import EnvoyAccount, EnvoyListener
from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.frozen import frozen
from envoyassert.graph.model import Call, KernelSocket, SocketGraph
from envoyassert.naming import ListenerRecord

#: An address of a listener: its name, and how many addresses before it there are equal.
Place = tuple[str, int]

_COMING_OR_GOING = tuple(
    f"listener_manager.total_listeners_{state}" for state in ("draining", "warming")
)


@dataclass
class Shares:
    """Whose the sockets are that asked the kernel for a port at one address.

    Args:
        sockets: those that are surely of a place.
        possible: those that may be of it, or of another.
        handed_on: those that were of it, and are of another now; with the time of the first list
            that shows this.
        failed: binds that failed, by place.
    """

    sockets: dict[Place, list[KernelSocket]] = field(default_factory=dict)
    possible: dict[Place, list[KernelSocket]] = field(default_factory=dict)
    failed: dict[Place, list[Call]] = field(default_factory=dict)
    handed_on: dict[Place, list[tuple[KernelSocket, int]]] = field(default_factory=dict)


@frozen
class _Asked:
    """A bind to port 0.

    Args:
        socket: the socket.
        call: the bind; None if it is not known who made it.
        failed: whether it failed.
    """

    socket: KernelSocket
    call: Call | None
    failed: bool = False

    @property
    def event(self) -> Event:
        return self.socket.born if self.call is None else self.call.event


@frozen
class _Seen:
    """The places that a socket may have by one of Envoy's lists.

    Args:
        begun_ns: when Envoy was asked.
        places: the places.
    """

    begun_ns: int
    places: set[Place]


def lists_namespaces(account: EnvoyAccount) -> bool:
    """Return whether Envoy says in which network namespace its addresses are; 1.36 does not."""
    return {a.netns for listener in account.listeners for a in listener.addresses} != {""}


def listed_places(socket: KernelSocket, namespaces: bool) -> set[Address]:
    """Return the addresses of a socket as Envoy would list them.

    Args:
        socket: the socket.
        namespaces: whether Envoy lists network namespaces.
    """
    places = socket.places
    if socket.requested is not None and socket.requested.port == 0:
        # Of an address with the kernel's port it remembers what an IPv4-mapped one maps, and
        # forgets the namespace (1.36.4 and 1.40.0).
        places |= {place.unmapped for place in places}
        places |= {place.within("") for place in places}
    return places if namespaces else {place.within("") for place in places}


def shares(
    graph: SocketGraph,
    candidates: Sequence[KernelSocket],
    protocol: str,
    address: Address,
    listeners: Sequence[ListenerRecord],
) -> Shares:
    """Return whose the sockets are that asked for port 0 at an address.

    Args:
        graph: the sockets, with the accounts and phases of their trace.
        candidates: the sockets of that protocol that asked for the address, in order of birth.
        protocol: `TCP` or `UDP`.
        address: as configured, with port 0.
        listeners: the listeners by the config.
    """
    return _Shared(graph, candidates, protocol, address, listeners).found()


class _Shared:
    def __init__(
        self,
        graph: SocketGraph,
        candidates: Sequence[KernelSocket],
        protocol: str,
        address: Address,
        listeners: Sequence[ListenerRecord],
    ) -> None:
        self._graph = graph
        self._protocol = protocol
        self._address = address
        self._listeners = listeners
        asked = [
            _Asked(socket, socket.binds[0] if socket.binds else None)
            for socket in candidates
            if socket.requested == address
        ]
        asked += [
            _Asked(socket, call, failed=True)
            for socket in candidates
            for call in socket.failed_binds
            if socket.asked_for(call) == address
        ]
        self._asked = sorted(asked, key=lambda one: one.event.ts_ns)
        self._accounts = [
            _Listed(witness.pid, answer)
            for witness in graph.accounts
            if (answer := witness.envoy_answer) is not None
        ]
        self._accounts.sort(key=lambda one: one.begun_ns)
        known = [*(one for phase in graph.phases for one in phase.listeners or ()), *listeners]
        self._records = list(dict.fromkeys(known))
        self._all_places = self._places(self._records)

    def found(self) -> Shares:
        """Return whose they are."""
        found = Shares()
        shown = [[] if one.failed else [*self._shown(one)] for one in self._asked]
        ordered = self._by_order(shown)
        for number, one in enumerate(self._asked):
            if not shown[number] and self._is_of_another(one):
                continue
            possible = self._places(self._known_at(one.event.ts_ns))
            mine, others = _decided(shown[number], ordered.get(number), possible)
            for place in mine:
                if one.failed and one.call is not None:
                    found.failed.setdefault(place, []).append(one.call)
                else:
                    found.sockets.setdefault(place, []).append(one.socket)
            for place in others:
                found.possible.setdefault(place, []).append(one.socket)
            for place, until_ns in _handed_on(shown[number], mine):
                found.handed_on.setdefault(place, []).append((one.socket, until_ns))
        return found

    def _is_of_another(self, one: _Asked) -> bool:
        """Whether a bind at start-up is that of an Envoy beside the first, whose config it is."""
        phases = self._graph.phases
        if phases and one.event.ts_ns > phases[0].end_ns:
            return False
        first = self._graph.processes.get(self._asked[0].event.pid)
        if first is None or first.pid == one.event.pid:
            return False
        # What an agent starts again is the same Envoy.
        return first.exited_ns is None or first.exited_ns > one.event.ts_ns

    def _places(self, records: Iterable[ListenerRecord]) -> list[Place]:
        """Return the places that ask for a port at the address, in the order of the listeners."""
        found = [
            (record.name, rank)
            for record in records
            if record.protocol_at(self._address) == self._protocol
            for rank in range(record.addresses.count(self._address))
        ]
        return list(dict.fromkeys(found))

    def _known_at(self, ts_ns: int) -> Iterator[ListenerRecord]:
        """Yield the listeners that a bind may have been for: those of its phase, or one before."""
        phases = self._graph.phases
        began = [phase for phase in phases if phase.begin_ns <= ts_ns]
        for phase in began:
            yield from phase.listeners or ()
        # What is not over is no phase yet, and not every trace notes them.
        if not began or ts_ns > phases[-1].end_ns or began[-1].listeners is None:
            yield from self._listeners

    def _shown(self, one: _Asked) -> Iterator[_Seen]:
        """Yield the places that a socket may have by each of Envoy's lists that shows it."""
        records, places = self._records, self._all_places
        admin = {record.name for record in records if record.kind == "admin"}
        unnamed = {record.name for record in records if _is_unnamed(record)}
        for account in self._accounts:
            if not account.is_about(one.socket):
                continue
            entries = account.entries_of(one.socket)
            listed = {
                place
                for entry in entries
                for place in places
                if place[0] == entry.name and place[0] not in admin
                if place[1] in self._ranks(entry, account, one.socket)
            }
            if listed:
                yield _Seen(account.begun_ns, listed)
            elif entries:
                # Envoy gives a name to one that has none in the config.
                theirs = {place for place in places if place[0] in unnamed - account.names}
                yield _Seen(account.begun_ns, theirs)
            elif account.is_at_rest:
                theirs = {place for place in places if place[0] in admin}
                if theirs:
                    yield _Seen(account.begun_ns, theirs)

    def _ranks(
        self,
        entry: EnvoyListener,
        account: _Listed,
        socket: KernelSocket,
    ) -> set[int]:
        """Return which of the equal addresses of a listener a socket may have, by Envoy's list."""
        named = [record for record in self._records if record.name == entry.name]
        number = max(record.addresses.count(self._address) for record in named)
        if number == 1:
            return {0}
        record = named[-1]
        hosts = {self._address.host, self._address.unmapped.host}
        asking = [a for a in record.addresses if a.port == 0 and a.host in hosts]
        chosen = [a for a in entry.addresses if a.host in hosts and a not in record.addresses]
        if number == len(asking) == len(chosen):
            places = listed_places(socket, account.namespaces)
            return {rank for rank, address in enumerate(chosen) if address in places}
        return set(range(number))

    def _by_order(self, shown: Sequence[Sequence[_Seen]]) -> dict[int, Place]:
        """Return the place of each bind at start-up, as far as the order of the binds shows it.

        Args:
            shown: of each bind the places that it may be for, by each list of Envoy's.
        """
        phases = self._graph.phases
        records: Sequence[ListenerRecord] = self._listeners
        if phases and phases[0].listeners is not None:
            records = phases[0].listeners
        places = self._places(records)
        asking = {place[0] for place in places}
        strict = len(asking) == 1 or all(
            record.kind != "lds" for record in records if record.name in asking
        )
        by_process: defaultdict[int, list[int]] = defaultdict(list)
        for number, one in enumerate(self._asked):
            if not phases or one.event.ts_ns <= phases[0].end_ns:
                by_process[one.event.pid].append(number)
        found: dict[int, Place] = {}
        for numbers in by_process.values():
            if len(numbers) > len(places) or (len(numbers) < len(places) and not strict):
                continue
            ordered = dict(zip(numbers, places, strict=False))
            firsts = (
                (place, shown[number][0]) for number, place in ordered.items() if shown[number]
            )
            if all(place in first.places for place, first in firsts):
                found.update(ordered)
        return found


def _is_unnamed(record: ListenerRecord) -> bool:
    """Whether a listener has the name that it has here since it has none that Envoy knows."""
    if record.kind == "admin":
        return False
    return record.name.partition(" #")[0] in ("admin", *map(str, record.addresses[:1]))


class _Listed:
    """What one Envoy says at one instant of where its listeners are."""

    def __init__(self, pid: int, account: EnvoyAccount) -> None:
        self._pid = pid
        self._account = account
        self.begun_ns = account.begun_ns
        self.namespaces = lists_namespaces(account)
        self.names = {listener.name for listener in account.listeners}
        self._by_address: defaultdict[Address, list[EnvoyListener]] = defaultdict(list)
        for listener in account.listeners:
            for address in listener.addresses:
                self._by_address[address].append(listener)

    def is_about(self, socket: KernelSocket) -> bool:
        """Whether that Envoy had the socket, bound, all the while that it was asked."""
        account = self._account
        return any(
            self._pid in (0, descriptor.pid)
            and descriptor.opened.ts_ns <= account.begun_ns
            and (descriptor.closed_ns is None or descriptor.closed_ns > account.ts_ns)
            for descriptor in socket.descriptors
        ) and all(call.event.ts_ns <= account.begun_ns for call in socket.binds)

    def entries_of(self, socket: KernelSocket) -> list[EnvoyListener]:
        """Return the listeners that it says are where a socket is."""
        found = [
            listener
            for place in listed_places(socket, self.namespaces)
            for listener in self._by_address.get(place, ())
        ]
        return list({listener.name: listener for listener in found}.values())

    @property
    def is_at_rest(self) -> bool:
        """Whether it lists all the listeners that it has: it leaves out what comes or goes."""
        return all(self._account.stats.get(state) == 0 for state in _COMING_OR_GOING)


def _decided(
    shown: Sequence[_Seen], ordered: Place | None, possible: Sequence[Place]
) -> tuple[list[Place], list[Place]]:
    """Return the places that a bind is for, and those that it may be for."""
    if not shown:
        if ordered is not None:
            return [ordered], []
        return ([*possible], []) if len(possible) == 1 else ([], [*possible])
    last = shown[-1].places
    if len(last) > 1 and ordered in last and ordered is not None:
        return [ordered], []
    return ([*last], []) if len(last) == 1 else ([], sorted(last))


def _handed_on(shown: Sequence[_Seen], now: Sequence[Place]) -> Iterator[tuple[Place, int]]:
    """Yield the places that had a socket before, and when another was first seen to have it."""
    for number, seen in enumerate(shown):
        for place in seen.places.difference(now):
            later = (one.begun_ns for one in shown[number:] if place not in one.places)
            until_ns = next(later, None)
            if until_ns is not None:
                yield place, until_ns
