"""Which kernel sockets, and which places of clients, are whose in a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.selection import parts_of
from envoyassert.naming import ListenerRecord
from envoyassert.predict.effects import takes
from envoyassert.trace import Trace
from envoyassert.transition.scenario import Transition
from envoyassert.transition.sides import Place


class Owned:
    """The sockets of the listeners of OLD before a change, and of those of NEW after it.

    Args:
        transition: what was run.
        run: its trace.
        graph: the sockets in it.
        began_ns: when the change began, of the trace's clock.
        over_ns: when it was over.
    """

    def __init__(
        self, transition: Transition, run: Trace, graph: SocketGraph, began_ns: int, over_ns: int
    ) -> None:
        self._transition = transition
        self._graph = graph
        self._rundir = run.header.rundir
        self._began_ns = began_ns
        #: The numbers of the sockets to which clients could come when it began, and afterwards.
        self.known = {one.number for one in graph.candidates if listens_at(one, began_ns)}
        self.listening = {one.number for one in graph.candidates if listens_at(one, over_ns)}

    def here(self, address: Address) -> Address:
        """Return an address of a config as it was in the run."""
        path, netns = address.path, address.netns
        if not self._rundir or "${rundir}" not in f"{path}{netns}":
            return address
        path = path and path.replace("${rundir}", self._rundir)
        return replace(address, path=path, netns=netns.replace("${rundir}", self._rundir))

    def before(self, record: ListenerRecord | None) -> list[KernelSocket]:
        """Return the sockets at the addresses that a listener of OLD has.

        Those of port 0 are among them that the change gives to another listener.
        """
        return self._sockets_of(record, self._transition.old, self._graph, handed_on=True)

    def after(self, record: ListenerRecord | None) -> list[KernelSocket]:
        """Return the sockets at the addresses that a listener of NEW has.

        Where it asks for port 0, those are its own that Envoy lists, if they are open. Without such
        a list they are those that it had; else those that were made in the change, in the order of
        the listeners that need some.
        """
        if record is None:
            return []
        fixed = [replace(one, addresses=_fixed(one)) for one in self._transition.new]
        mine = fixed[self._transition.new.index(record)]
        found = self._sockets_of(mine, tuple(fixed), self._graph)
        if mine.addresses == record.addresses:
            return found
        if any(one.envoy_answer is not None for one in self._graph.accounts):
            zero = tuple(map(_at_zero, self._transition.new))
            shown = self._sockets_of(_at_zero(record), zero, self._graph)
            if shown := [one for one in shown if one.number in self.listening]:
                return [*found, *shown]
        stay = {one.name: self._stay_at_zero(one) for one in self._transition.new}
        if stay[record.name]:
            return [*found, *stay[record.name]]
        makers = tuple(_at_zero(one) for one in self._transition.new if not stay[one.name])
        later = {
            key: [one for one in sockets if one.born.ts_ns >= self._began_ns]
            for key, sockets in self._graph.by_place.items()
        }
        # Whoever has sockets already is none of those that may have made them.
        graph = replace(self._graph, by_place=later, phases=())
        return [*found, *self._sockets_of(_at_zero(record), makers, graph)]

    def has_clients_before(self, record: ListenerRecord | None, place: Place) -> bool:
        """Return whether a listener of OLD has the clients of a place.

        Where one that asks for the address was given up, a wildcard's listener has them.

        Args:
            record: the listener; None if OLD lacks it.
            place: where clients go.
        """
        old = self._transition.old
        return self._has_clients(record, place, old, self.before, self.known)

    def has_clients_after(self, record: ListenerRecord | None, place: Place) -> bool:
        """Return whether a listener of NEW has the clients of a place; see `has_clients_before`."""
        new = self._transition.new
        return self._has_clients(record, place, new, self.after, self.listening)

    def _has_clients(
        self,
        record: ListenerRecord | None,
        place: Place,
        records: tuple[ListenerRecord, ...],
        sockets_of: Callable[[ListenerRecord], list[KernelSocket]],
        live: set[int],
    ) -> bool:
        """Return whether a listener has the clients of a place.

        Args:
            record: the listener, one of `records`.
            place: where clients go.
            records: all listeners of its side.
            sockets_of: returns the sockets at the addresses of a listener.
            live: the numbers of those to which clients could come.
        """
        if record is None:
            return False
        asks = [one for one in records if has_place(one, place)]
        if place.address.port == 0 or not asks:
            return record in asks
        at = self.here(place.address)

        def listens(one: ListenerRecord) -> bool:
            mine = [socket for socket in sockets_of(one) if socket.number in live]
            return any(socket.address is not None and takes(socket.address, at) for socket in mine)

        if any(map(listens, asks)):
            return record in asks
        kind = asks[0].protocol_at(place.address)
        takers = [
            one
            for one in records
            if any(takes(to, place.address) and one.protocol_at(to) == kind for to in one.addresses)
            and listens(one)
        ]
        return record in (takers or asks)

    def _stay_at_zero(self, record: ListenerRecord) -> list[KernelSocket]:
        """Return the sockets of a listener whose port the kernel chose, and that stay open."""
        old = next((one for one in self._transition.old if one.name == record.name), None)
        if old is None:
            return []
        before = tuple(map(_at_zero, self._transition.old))
        found = self._sockets_of(_at_zero(old), before, self._graph)
        return [one for one in found if one.number in self.known & self.listening]

    def _sockets_of(
        self,
        record: ListenerRecord | None,
        records: tuple[ListenerRecord, ...],
        graph: SocketGraph,
        *,
        handed_on: bool = False,
    ) -> list[KernelSocket]:
        if record is None:
            return []
        known = [replace(one, addresses=tuple(map(self.here, one.addresses))) for one in records]
        parts = parts_of(known[records.index(record)], graph, tuple(known))
        found = [socket for part in parts for socket in part.sockets]
        if handed_on:
            found += [socket for part in parts for socket, _ in part.handed_on]
        return found


def has_place(record: ListenerRecord | None, place: Place) -> bool:
    """Whether a listener has a place, which one of the other protocol may have beside it."""
    if record is None or place.address not in record.addresses:
        return False
    if place.address.port == 0 and place.listener != record.name:
        return False
    protocol = "UDP" if place.protocol == "QUIC" else place.protocol
    return record.protocol_at(place.address) == protocol


def _fixed(record: ListenerRecord) -> tuple[Address, ...]:
    return tuple(one for one in record.addresses if one.port != 0)


def _at_zero(record: ListenerRecord) -> ListenerRecord:
    return replace(record, addresses=tuple(one for one in record.addresses if one.port == 0))


def listens_at(socket: KernelSocket, ns: int) -> bool:
    """Whether clients could come to a socket at an instant."""
    calls = socket.binds if socket.type == "SOCK_DGRAM" else socket.listens
    if not any(call.event.ts_ns <= ns for call in calls):
        return False
    return any(
        one.opened.ts_ns <= ns and (one.closed_ns is None or one.closed_ns > ns)
        for one in socket.descriptors
    )
