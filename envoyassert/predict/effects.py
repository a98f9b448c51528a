"""What a change of a config does to listeners, sockets and clients, as data."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envoyassert.addresses import Address


class Way(enum.Enum):
    """How a change reaches Envoy."""

    #: A control plane sends the listeners (LDS, ADS), or a file that Envoy watches has them.
    PUSH = "push"
    #: The next epoch is started, and gets the sockets from the one before.
    HOT_RESTART = "hot-restart"
    #: Envoy is ended and started again.
    RESTART = "restart"


class Kind(enum.Enum):
    """What happens to one listener."""

    SAME = "same"  #: nothing at all
    ADDED = "added"
    REMOVED = "removed"
    #: The workers keep the descriptors that they have: main duplicates each, for nothing.
    IN_PLACE = "in_place"
    FULL_KEPT = "full_kept"  #: replaced, on the kernel sockets that are there
    FULL_NEW = "full_new"  #: replaced, on new kernel sockets: the old ones are closed
    REFUSED = "refused"  #: the listener stays as it is
    #: Accepted, and given up when it begins to listen: the listener is gone, old and new.
    DROPPED = "dropped"
    #: Envoy does not survive it, or the Envoy that is started with it does not come up.
    ENDS_ENVOY = "ends_envoy"
    UNKNOWN = "unknown"


class Fate(enum.Enum):
    """What happens to connections: those in accept queues, or those that workers hold."""

    NONE = "none"  #: there are none
    KEPT = "kept"
    HANDED_OVER = "handed_over"  #: accepted by the next epoch
    #: Served until the drain time is over (--drain-time-s, or --parent-shutdown-time-s for a hot
    #: restart), closed then.
    DRAINED = "drained"
    RESET = "reset"  #: lost; of a datagram socket: dropped
    SOME_RESET = "some_reset"  #: of some sockets; those of the others are kept or handed over
    UNSERVED = "unserved"  #: the kernel completes handshakes, and no worker accepts
    UNKNOWN = "unknown"


class Gap(enum.Enum):
    """How long no one reads what clients send to a socket that is handed over."""

    NONE = "none"
    #: From when the epoch before stops to listen to its end (--parent-shutdown-time-s).
    PARENT_SHUTDOWN = "parent_shutdown"
    UNKNOWN = "unknown"


#: Fates in which a client loses something.
LOSSES = frozenset((Fate.RESET, Fate.SOME_RESET, Fate.UNSERVED))


class Why(enum.Enum):
    """Which part of a listener differs, by what Envoy does for it."""

    FILTER_CHAINS = "filter_chains"
    REUSE_PORT = "reuse_port"
    SOCKET_OPTIONS = "socket_options"
    ADDRESS = "address"
    ADDRESSES = "addresses"  #: additional ones: added, taken away
    PROTOCOL = "protocol"
    BIND_TO_PORT = "bind_to_port"
    BALANCE = "connection_balance"
    BACKLOG = "backlog"
    WORKERS = "workers"
    #: Asked for when a socket is made, and of no socket that is there.
    AT_CREATION = "at_creation"
    OTHER = "other"


@dataclass(frozen=True)
class Side:
    """An Envoy before a change, or after it.

    Args:
        config: its bootstrap as data.
        discovered: the listeners that a control plane serves; None if there is none, or if it is
            not known.
        workers: its number of workers.
        arguments: further ones of its command line.
    """

    config: Any
    discovered: tuple[Any, ...] | None = None
    workers: int = 2
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reason:
    """One difference of a listener, and what it leads to.

    Args:
        why: which part of the listener it is.
        field: its path in the listener's config: `address.socket_address.ipv4_compat`.
        before: its value in the old config as data, None if it is absent.
        after: its value in the new one, likewise.
        forces_new: whether it is why the kernel sockets are not kept.
        refused: whether it is why Envoy refuses the listener.
        in_effect: whether Envoy does what the field asks for; None if the model does not know.
        versions: bounds of the versions to which `in_effect` is limited (`<1.40`), "" for all.
    """

    why: Why
    field: str
    before: Any
    after: Any
    forces_new: bool = False
    refused: bool = False
    in_effect: bool | None = True
    versions: str = ""


@dataclass(frozen=True)
class ListenerChange:
    """What one way of a change does to one listener.

    Args:
        name: of the listener, as `static_listeners` names it.
        before: its addresses in the old config; () if it has none there.
        after: those in the new one.
        protocol: `TCP`, `MPTCP`, `UDP` or `UNIX`; "" if it asks for no socket.
        kind: what happens to it.
        reasons: what differs, in the order of importance; () if its config stays as it is.
        kept: kernel sockets that are there before and after.
        closed: kernel sockets that are closed.
        made: kernel sockets that are bound, and stay.
        left: kernel sockets that stay open until the drain time is over: of UDP no one reads them,
            of QUIC the old listener does.
        queue: how workers get connections afterwards: `reuse_port` (a queue for each worker),
            `dup` (one queue for all), or "" where there is no socket.
        queue_before: likewise, before.
        queued: what happens to connections that wait in accept queues.
        held: what happens to those that workers have accepted.
        gap: how long no one reads datagrams while the epochs change.
        served: whether every worker serves it afterwards, at the addresses of `after`; None if the
            model does not know.
        words: what Envoy says where it refuses it, "" where it does not.
        unknown: facts that the model does not know, by name: `queued`, `made`, …, with the reason.
        shut_by_overload: whether no worker accepts afterwards, though it bypasses the overload
            manager, if the action stop_accepting_connections is active when it is pushed.
    """

    name: str
    before: tuple[Address, ...]
    after: tuple[Address, ...]
    protocol: str
    kind: Kind
    reasons: tuple[Reason, ...] = ()
    kept: int = 0
    closed: int = 0
    made: int = 0
    left: int = 0
    queue: str = ""
    queue_before: str = ""
    queued: Fate = Fate.NONE
    held: Fate = Fate.NONE
    gap: Gap = Gap.NONE
    served: bool | None = True
    words: str = ""
    unknown: dict[str, str] = field(default_factory=dict)
    shut_by_overload: bool = False

    @property
    def is_unserved(self) -> bool:
        """Whether clients reach nothing afterwards at an address that it asks for."""
        return bool(self.after) and self.served is False

    @property
    def differs(self) -> bool:
        """Whether its config is not what it was, or is not in effect as it was."""
        apart = (Kind.SAME, Kind.IN_PLACE, Kind.FULL_KEPT, Kind.FULL_NEW)
        return bool(self.reasons) or self.kind not in apart


class Topic(enum.Enum):
    """What a change that is not a listener's is about."""

    WORKERS = "workers"  #: --concurrency
    ADMIN = "admin"
    HOT_RESTART_NAME = "hot_restart_name"  #: --socket-path, --base-id
    ARGUMENTS = "arguments"  #: any other argument of the command line
    OVERLOAD_MANAGER = "overload_manager"
    RUNTIME = "runtime"
    DISCOVERY = "discovery"  #: where listeners come from
    OTHER = "other"


@dataclass(frozen=True)
class OtherChange:
    """A difference that is not a listener's, and what it leads to by one way.

    Args:
        topic: what it is about.
        field: its path in the bootstrap, or the argument.
        before: its value in the old one, None if it is absent.
        after: its value in the new one, likewise.
        applied: whether it is in effect afterwards: a bootstrap is read at a start alone.
        kind: what it does to all listeners; None if it does nothing to them.
    """

    topic: Topic
    field: str
    before: Any
    after: Any
    applied: bool
    kind: Kind | None = None


@dataclass(frozen=True)
class Change:
    """What one way of a change does.

    Args:
        way: how it reaches Envoy.
        version: of Envoy, "" for all that the model knows.
        workers: Envoy's number of workers, before and after.
        listeners: each listener of the old config and of the new one, by name.
        others: what differs outside of listeners.
        unknown: facts of the whole change that the model does not know, with the reason.
        anyway: whether both sides are equal and Envoy refuses this way anyway.
    """

    way: Way
    version: str
    workers: tuple[int, int]
    listeners: tuple[ListenerChange, ...]
    others: tuple[OtherChange, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)
    anyway: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether Envoy refuses something, or does not survive."""
        kinds = {one.kind for one in self.listeners} | {one.kind for one in self.others}
        return bool(kinds & {Kind.REFUSED, Kind.ENDS_ENVOY, Kind.DROPPED})

    @property
    def is_undrained(self) -> bool:
        """Whether the epoch before a hot restart serves on: it is never asked to drain."""
        there = [one.kind for one in self.listeners if one.kind is not Kind.REMOVED]
        some = Kind.DROPPED in there and {*there} != {Kind.DROPPED}
        return self.way is Way.HOT_RESTART and some

    @property
    def loses(self) -> bool:
        """Whether clients lose something that they would not lose without the change.

        A restart closes every connection, whatever is changed. A hot restart should lose none, so a
        gap is a loss in a listener that stays as it was too.
        """
        if self.differs and any(one.gap is Gap.PARENT_SHUTDOWN for one in self.listeners):
            return True
        return any(self._loses(one) for one in self.listeners if self.touches(one))

    def touches(self, one: ListenerChange) -> bool:
        """Whether the change is why something happens to a listener."""
        scaled = self.workers[0] != self.workers[1] and one.closed + one.left != one.made
        return not self.anyway and (one.differs or scaled)

    def gone(self, one: ListenerChange) -> tuple[Address, ...]:
        """Return the addresses of a listener at which there is none afterwards."""
        other = one.kind is not Kind.REFUSED and any(r.why is Why.PROTOCOL for r in one.reasons)
        was_udp = (one.protocol == "UDP") != other
        same = [each for each in self.listeners if (each.protocol == "UDP") == was_udp]
        there = [place for each in same for place in each.after]
        return tuple(place for place in one.before if not any(takes(at, place) for at in there))

    def _loses(self, one: ListenerChange) -> bool:
        lost = one.is_unserved or bool(self.gone(one))
        return lost or (self.way is not Way.RESTART and bool(LOSSES & {one.queued, one.held}))

    @property
    def differs(self) -> bool:
        """Whether anything is not what it was."""
        return bool(self.others) or any(map(self.touches, self.listeners))


def takes(one: Address, place: Address) -> bool:
    """Return whether clients of a place reach a socket at an address: its own, or the wildcard's.

    Args:
        one: the address of the socket.
        place: where clients go.
    """
    if one == place:
        return True
    ends = [(each.is_ip, each.family, each.port, each.netns) for each in (one, place)]
    return one.is_wildcard and ends[0] == ends[1]
