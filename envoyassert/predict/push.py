"""What Envoy does with its listeners when a control plane sends others (LDS, ADS).

Source: Envoy's ListenerManagerImpl (addOrUpdateListenerInternal, setupSocketFactoryForListener,
setNewOrDrainingSocketFactory, onListenerWarmed, inPlaceFilterChainUpdate), each rule seen on 1.36.4
and 1.40.0. Listeners are removed first, then added and updated in the order in which they are sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from envoyassert.predict.effects import Fate, Kind, ListenerChange, Reason, Why
from envoyassert.predict.fields import differences, has_chains, is_only_chains, is_same_message
from envoyassert.predict.held import (
    UNNAMED,
    Held,
    can_share,
    held,
    sets_unfit_options,
    started,
    taken,
    unnamed_options,
)
from envoyassert.predict.refusals import (
    duplicate_words,
    has_duplicate,
    is_datagram,
    places_of,
    refused_alone,
    unsure_of_unbound,
)
from envoyassert.versions import satisfies

#: Since when main listens on the duplicates with the backlog of the new config.
_BACKLOG_SINCE = ">=1.40"
#: Since when the sockets of a listener for datagrams stay open while it drains, in no epoll.
UDP_LEFT_SINCE = ">=1.40"
#: What decides whether sockets are shared.
_DECIDES = (Why.SOCKET_OPTIONS, Why.ADDRESS, Why.ADDRESSES, Why.PROTOCOL)


@dataclass(frozen=True)
class Outcome:
    """What a push did to one listener that it had.

    Args:
        kind: what happened to it.
        words: what Envoy says of it.
        served: whether the workers serve what it asks for.
        fresh: sockets that were bound, and that no one will serve.
    """

    kind: Kind
    words: str = ""
    served: bool = True
    fresh: int = 0


@dataclass
class Listeners:
    """Envoy's listeners with their sockets, and what pushes one after the other do to them.

    Args:
        workers: how many there are.
        version: of Envoy, "" for every one that the model knows.
        active: those that it has, by their names.
        draining: those that it had, and whose sockets are open yet, the latest first.
        dropped: those that it gave up.
        numbers: gives the number of each further kernel socket.
        is_half_started: whether its start never ends, for it has given up one of several.
    """

    workers: int
    version: str = ""
    active: dict[str, Held] = field(default_factory=dict)
    draining: list[Held] = field(default_factory=list)
    dropped: dict[str, Held] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    is_half_started: bool = False

    @classmethod
    def started(cls, listeners: Mapping[str, Any], workers: int, version: str = "") -> Listeners:
        """Return the listeners of an Envoy that has started.

        Args:
            listeners: all of them, without what it refused, by their names.
            workers: how many there are.
            version: of Envoy, "" for every one that the model knows.
        """
        found = cls(workers, version)
        found.take(started(listeners, workers, found.numbers.__next__))
        return found

    def take(self, listeners: Mapping[str, Held]) -> None:
        """Have the listeners of an Envoy that has started, by their names, and no others."""
        self.dropped = {name: one for name, one in listeners.items() if one.is_dropped}
        self.active = {name: one for name, one in listeners.items() if not one.is_dropped}
        self.draining = []
        # It waits until each worker has each listener that it counted; for none if none is left.
        self.is_half_started = bool(self.dropped and self.active)

    def push(self, new: Mapping[str, Any], fixed: Collection[str] = ()) -> list[ListenerChange]:
        """Have a control plane send listeners, and return what that does to each.

        Args:
            new: all that it serves from now on, by their names, in the order in which it sends
                them.
            fixed: names of the static ones: a push changes none of them, but their addresses are
                taken.
        """
        before = {**self.dropped, **self.active}
        left = {number for one in self.draining for number in one.numbers}
        outcomes: dict[str, Outcome] = {}
        for name in [*self.active]:
            if name not in new and name not in fixed:
                self.remove(name)
                outcomes[name] = Outcome(Kind.REMOVED, served=False)
        for name, listener in new.items():
            outcomes[name] = self.update(name, listener)
        result = _Result(before, self.active, left, self.version)
        found = [result.change_of(name, outcomes[name], new.get(name)) for name in outcomes]
        # By the next push all others are closed.
        self.draining = [one for one in self.draining if stays_open(one, self.version)]
        if any(one.kind is Kind.ENDS_ENVOY for one in found):
            return [result.ended(one) for one in found]
        return found

    def make(self, name: str, listener: Any) -> Held:
        """Return a listener on sockets of its own."""
        return held(name, listener, self.workers, self.numbers.__next__)

    def remove(self, name: str) -> None:
        """Have a listener drain."""
        self.draining.insert(0, self.active.pop(name))

    def update(self, name: str, listener: Any) -> Outcome:
        """Add a listener, or update the one of that name."""
        new, old = self.make(name, listener), self.active.get(name)
        if old is not None and is_same_message(old.config, new.config):
            return Outcome(Kind.SAME, served=_is_served(old))
        words = refused_alone(new.config, self.workers, self.version)
        if words:
            return Outcome(Kind.REFUSED, words)
        if old is None:
            return self._add(new)
        if old.reuses_port != new.reuses_port:
            words = f"Listener {name}: reuse port cannot be changed during an update"
            return Outcome(Kind.REFUSED, words)
        in_place = has_chains(new.config) and is_only_chains(old.config, new.config)
        if not can_share(old.config, new.config):
            found = self._on_new_sockets(new)
            if isinstance(found, Outcome):
                return found
            if in_place:
                # The workers keep the descriptors that they have, and no one listens on the others.
                self.active[name] = replace(new, sets=old.sets, sockets=old.sockets)
                return Outcome(Kind.IN_PLACE, fresh=len(found.numbers))
            return self._take(new, found, Kind.FULL_NEW)
        shared = replace(new, sets=old.sets, sockets=old.sockets)
        if in_place:
            self.active[name] = shared
            served = not new.binds or (bool(old.numbers) and _is_served(shared))
            return Outcome(Kind.IN_PLACE, served=served)
        if new.binds and not old.binds:
            # Envoy has nothing that could be duplicated, and does not notice.
            kind = Kind.UNKNOWN if old.numbers else Kind.ENDS_ENVOY
            return Outcome(kind, served=False)
        if not new.binds:
            # Main has the sockets yet, and listens; no worker has one.
            shared = replace(shared, sets=tuple(replace(one, role="none") for one in old.sets))
        self.active[name] = shared
        return Outcome(Kind.FULL_KEPT, served=new.binds or not old.numbers)

    def _add(self, new: Held) -> Outcome:
        """Add a listener; one that was given up is tried again whenever it is sent."""
        found, gone = self._on_new_sockets(new), self.dropped.get(new.name)
        is_again = gone is not None and is_same_message(gone.config, new.config)
        if is_again and new.is_dropped and isinstance(found, Held):
            return Outcome(Kind.SAME, served=False)  # given up as before
        return self._take(new, found, Kind.ADDED)

    def _on_new_sockets(self, new: Held) -> Held | Outcome:
        """Return a listener with sockets of its own, or with those of one that drains."""
        others = [
            one
            for one in self.active.values()
            if not (one.name == new.name and new.reuses_port)
            and has_duplicate(new.config, one.config)
        ]
        if others:
            return Outcome(Kind.REFUSED, duplicate_words(new.name, new.config))
        for donor in self.draining:
            if donor.numbers and can_share(new.config, donor.config):
                return replace(new, sets=donor.sets, sockets=donor.sockets)
        there = [one for held in (*self.active.values(), *self.draining) for one in held.sets]
        # That of a path or a name is bound in any case.
        words = next(taken(new.sets, there), "")
        if words:
            return Outcome(Kind.REFUSED, words)
        if new.binds and sets_unfit_options(new.config):
            # The path was taken from the old socket before the option was refused.
            lost = any(place.path for place in new.addresses)
            words = f"{new.name}: Setting socket options failed"
            return Outcome(Kind.REFUSED, words, served=not lost)
        return new

    def _take(self, new: Held, found: Held | Outcome, kind: Kind) -> Outcome:
        """Have a listener on sockets of its own instead of the old one, if there is one."""
        if isinstance(found, Outcome):
            return found
        if new.name in self.active:
            self.remove(new.name)
        if new.is_dropped:
            self.dropped[new.name] = new
            return Outcome(Kind.DROPPED, new.words, served=False)
        self.dropped.pop(new.name, None)
        self.active[new.name] = found
        return Outcome(kind, served=_is_served(found))


def _is_served(one: Held) -> bool:
    return not one.binds or all(sets.role == "workers" for sets in one.sets)


def push_changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    fixed: Mapping[str, Any],
    workers: int,
    version: str,
) -> list[ListenerChange]:
    """Return what a push does to each listener.

    Args:
        old: the listeners that the control plane served, by their names.
        new: those that it serves now, in the order in which it sends them.
        fixed: the static ones: a push changes none of them, but their addresses are taken.
        workers: how many there are.
        version: of Envoy, "" for every one that the model knows.
    """
    return Listeners.started({**fixed, **old}, workers, version).push(new, fixed)


def stays_open(one: Held, version: str) -> bool:
    """Return whether the sockets of a listener that is stopped stay open as long as it drains.

    Args:
        one: the listener.
        version: of Envoy, "" for every one that the model knows.
    """
    since = bool(version) and satisfies(version, UDP_LEFT_SINCE)
    return _is_quic(one) or (one.protocol == "UDP" and since)


class _Result:
    """What is said of each listener once all are updated."""

    def __init__(
        self, before: Mapping[str, Held], after: Mapping[str, Held], left: set[int], version: str
    ) -> None:
        self._before = before
        self._after = after
        self._version = version
        self._live = {number for one in after.values() for number in one.numbers}
        self._known = left | {number for one in before.values() for number in one.numbers}

    def change_of(self, name: str, outcome: Outcome, listener: Any) -> ListenerChange:
        old, new = self._before.get(name), self._after.get(name)
        mine = set(old.numbers) if old is not None else set()
        kept = mine & self._live
        gone = len(mine) - len(kept)
        left = gone if old is not None and stays_open(old, self._version) else 0
        now = set(new.numbers) if new is not None else set()
        unknown = self._unknown(old, new, outcome.kind)
        if old is None:
            kept = now & self._known  # taken over from one that drains
        served: bool | None = outcome.served and not left and new is not None
        quic_is_left = left and new is not None and old is not None and _is_quic(old)
        if quic_is_left or "kind" in unknown:
            served = None
        # A refused listener is as it was, and what stays of a removed one is another's now.
        waits = served is not False or outcome.kind in (Kind.REFUSED, Kind.REMOVED)
        sides = [one for one in (new, old) if one is not None]
        change = ListenerChange(
            name,
            before=old.addresses if old is not None and old.numbers else (),
            after=tuple(places_of(new.config))
            if new is not None and (new.numbers or new.binds)
            else (),
            protocol=next((one.protocol for one in sides if one.protocol), ""),
            kind=outcome.kind,
            kept=len(kept),
            closed=gone - left,
            made=len(now - self._known) + outcome.fresh,
            left=left,
            queue=new.queue if new is not None else "",
            queue_before=old.queue if old is not None else "",
            queued=Fate.UNKNOWN
            if left and old is not None and _is_quic(old)
            else _queued(len(mine), gone, waits),
            held=_held(old, outcome.kind, listener),
            served=served,
            words=outcome.words,
            unknown=unknown,
        )
        reasons = tuple(self._reasons(old, listener, outcome)) if listener is not None else ()
        return replace(change, reasons=reasons)

    @staticmethod
    def ended(change: ListenerChange) -> ListenerChange:
        """Return what happens to a listener of an Envoy that does not survive the push."""
        lost = Fate.RESET if change.before else Fate.NONE
        gone = change.kept + change.closed + change.left
        return replace(
            change, kept=0, made=0, left=0, closed=gone, queued=lost, held=lost, served=False
        )

    def _version_in(self, bounds: str) -> bool:
        return bool(self._version) and satisfies(self._version, bounds)

    def _unknown(self, old: Held | None, new: Held | None, kind: Kind) -> dict[str, str]:
        found = {}
        makes = new is not None and kind in (Kind.ADDED, Kind.FULL_NEW)
        if makes and new is not None and unnamed_options(new.sets):
            found["kind"] = UNNAMED
        is_sent = kind not in (Kind.SAME, Kind.REFUSED)
        unsure = unsure_of_unbound(new.config, self._version) if new is not None else ""
        if unsure and is_sent:
            found["kind"] = unsure
        if old is None or not old.numbers or kind in (Kind.SAME, Kind.IN_PLACE, Kind.REFUSED):
            return found
        if old.protocol != "UDP":
            return found
        if not _is_quic(old):
            found["held"] = "what happens to sessions is the filter's own"
        gone = kind in (Kind.FULL_NEW, Kind.REMOVED)
        if gone and _is_quic(old):
            # The sockets of QUIC stay, and are read, for the connections that there are.
            found["queued"] = "whether a listener of QUIC takes new connections while it drains"
        elif gone and not self._version:
            found["closed"] = f"{UDP_LEFT_SINCE} leaves them open, unread, until the drain is over"
        return found

    def _reasons(self, old: Held | None, listener: Any, outcome: Outcome) -> Iterator[Reason]:
        if old is None:
            return
        new = held(old.name, listener, 1, count().__next__)
        kind = outcome.kind
        for why, path, before, after in differences(old.config, new.config):
            decides = why in _DECIDES
            bounds = _BACKLOG_SINCE if why is Why.BACKLOG and kind is Kind.FULL_KEPT else ""
            yield Reason(
                why,
                path,
                before,
                after,
                forces_new=kind in (Kind.FULL_NEW, Kind.DROPPED) and decides,
                refused=kind is Kind.REFUSED and _is_refused(why, outcome.words),
                in_effect=self._in_effect(why, kind, bounds),
                versions=bounds,
            )

    def _in_effect(self, why: Why, kind: Kind, bounds: str) -> bool | None:
        if kind in (Kind.REFUSED, Kind.DROPPED, Kind.ENDS_ENVOY, Kind.SAME):
            return False
        if kind is Kind.UNKNOWN:
            return None
        if bounds:
            return self._version_in(bounds) if self._version else None
        if kind is Kind.FULL_KEPT:
            return why not in (Why.AT_CREATION, Why.BIND_TO_PORT)
        if kind is Kind.IN_PLACE:
            return why in (Why.FILTER_CHAINS, Why.OTHER, Why.ADDRESSES)
        return True


def _is_refused(why: Why, words: str) -> bool:
    if "reuse port" in words or "SO_REUSEPORT" in words:
        return why in (Why.REUSE_PORT, Why.PROTOCOL)
    if "filter chains" in words:
        return why is Why.FILTER_CHAINS
    return why in (*_DECIDES, Why.AT_CREATION)


def _queued(mine: int, gone: int, served: bool) -> Fate:
    if not mine:
        return Fate.NONE
    if gone:
        return Fate.RESET if gone == mine else Fate.SOME_RESET
    return Fate.KEPT if served else Fate.UNSERVED


def _held(old: Held | None, kind: Kind, listener: Any) -> Fate:
    if old is None:
        return Fate.NONE
    if kind in (Kind.SAME, Kind.REFUSED):
        return Fate.KEPT
    if is_datagram(old.config) and not _is_quic(old):
        return Fate.UNKNOWN
    if kind is Kind.IN_PLACE:
        new = held(old.name, listener, 1, count().__next__)
        found = (one.why for one in differences(old.config, new.config))
        return Fate.DRAINED if Why.FILTER_CHAINS in found else Fate.KEPT
    return Fate.UNKNOWN if kind is Kind.UNKNOWN else Fate.DRAINED


def _is_quic(one: Held) -> bool:
    config = one.config.get("udp_listener_config") or {}
    return "quic_options" in config
