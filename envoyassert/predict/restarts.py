"""What happens to listeners when Envoy is started again: as the next epoch, or after its end.

The next epoch of a hot restart asks the one before for a socket by its address and by the index of
a worker, and binds what it does not get. Source: Envoy's HotRestartingParent::Internal::
getListenSocketsForChild and ProdListenerComponentFactory::createListenSocketInternal, each rule
seen on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from envoyassert.predict.effects import Fate, Gap, Kind, ListenerChange, Reason, Why
from envoyassert.predict.fields import differences, normal
from envoyassert.predict.held import (
    UNNAMED,
    Held,
    sets_unfit_options,
    started,
    taken,
    unnamed_options,
)
from envoyassert.predict.push import Listeners
from envoyassert.predict.refusals import (
    duplicate_words,
    has_duplicate,
    refused_alone,
    unsure_of_unbound,
)
from envoyassert.predict.sockets import SocketSet
from envoyassert.scenario.listeners import proto_field
from envoyassert.versions import satisfies

#: Since when the next epoch reads the datagrams of the sockets that it gets at once.
GAPLESS_SINCE = ">=1.40"
#: Since when a socket in another network namespace is handed over.
_NETNS_SINCE = ">=1.38"
#: What the next epoch says where the one before has given up a listener at its start.
INITIALIZING = "previous envoy process is still initializing"


def start_refusal(listeners: Mapping[str, Any], workers: int, version: str = "") -> tuple[str, str]:
    """Return which static listener keeps Envoy from starting, and what it says; "" twice if none.

    Args:
        listeners: by their names.
        workers: how many there are.
        version: of Envoy, "" for every one that the model knows.
    """
    seen: list[Any] = []
    for name, listener in listeners.items():
        words = refused_alone(normal(listener), workers, version)
        if any(has_duplicate(listener, one) for one in seen):
            words = duplicate_words(name, listener)
        if not words and sets_unfit_options(listener):
            words = f"{name}: Setting socket options failed"
        if words:
            return name, words
        seen.append(listener)
    return "", ""


def restart_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], workers: tuple[int, int]
) -> list[ListenerChange]:
    """Return what the end of an Envoy and the start of another one do to each listener.

    Args:
        old: the listeners of the one that ends, by their names.
        new: those of the one that starts.
        workers: how many each has.
    """
    numbers = count().__next__
    before, after = started(old, workers[0], numbers), started(new, workers[1], numbers)
    return _changes(before, after, hot=False)


def hot_restart_changes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    workers: tuple[int, int],
    version: str,
    at: Listeners | None = None,
) -> list[ListenerChange]:
    """Return what a hot restart does to each listener.

    Args:
        old: the listeners of the epoch before, by their names.
        new: those of the next one.
        workers: how many each has.
        version: of Envoy, "" for every one that the model knows.
        at: what earlier changes left of the listeners of the epoch before, instead of `old`; has
            those of the next one afterwards.
    """
    if at is None:
        at = Listeners.started(old, workers[0], version)
    numbers, there_are = at.numbers.__next__, {**at.dropped, **at.active}
    before = {name: there_are[name] for name in old if name in there_are} | there_are
    was_half_started = at.is_half_started
    if was_half_started:
        return refused_start(old, workers[0], "", INITIALIZING, ended=False)
    after: dict[str, Held] = {}
    refused: dict[str, str] = {}
    for name, one in started(new, workers[1], numbers).items():
        groups = [
            _inherited(wanted, mine, before.values(), workers[1], version)
            for wanted, mine in zip(one.sets, one.sockets, strict=True)
        ]
        there = [sets for other in before.values() for sets in other.sets]
        known = {sets.address for sets in there} if one.is_dropped else set()
        bound = [
            sets
            for sets, group in zip(one.sets, groups, strict=True)
            if group is None and sets.address not in known
        ]
        words = next(taken(bound, there), "")
        if words:
            refused[name] = words
        own = zip(one.sockets, groups, strict=True)
        after[name] = replace(one, sockets=tuple(group or mine for mine, group in own))
    if refused:
        return [
            _refused(before.get(name), refused.get(name, ""), name)
            for name in dict.fromkeys((*before, *after))
        ]
    at.workers = workers[1]
    at.take(after)
    found = _changes(before, after, hot=True, version=version)
    return [*map(_undrained, found)] if at.is_half_started else found


def _undrained(one: ListenerChange) -> ListenerChange:
    """Return what happens to a listener where the epoch before is not asked to drain."""
    if not one.before:
        return one
    kept = one.kept + one.closed
    return replace(one, kept=kept, closed=0, queued=Fate.KEPT, held=Fate.KEPT, served=True)


def _changes(
    before: Mapping[str, Held], after: Mapping[str, Held], *, hot: bool, version: str = ""
) -> list[ListenerChange]:
    live = {number for one in after.values() for number in one.numbers}
    known = {number for one in before.values() for number in one.numbers}
    return [
        _change(before.get(name), after.get(name), live, known, hot=hot, version=version)
        for name in dict.fromkeys((*before, *after))
    ]


def refused_start(
    old: Mapping[str, Any], workers: int, name: str, words: str, *, ended: bool
) -> list[ListenerChange]:
    """Return what happens to each listener where the new Envoy does not come up.

    Args:
        old: the listeners that there were, by their names.
        workers: how many there were.
        name: the listener for which it does not come up, "" if it is none's.
        words: what it says.
        ended: whether the old one has ended before.
    """
    numbers = count().__next__
    before = started(old, workers, numbers)
    found = []
    for one in dict.fromkeys((*before, *([name] if name else []))):
        said = words if one == name or not name else ""
        change = _refused(before.get(one), said, one)
        if ended:
            lost = Fate.RESET if change.before else Fate.NONE
            change = replace(
                change,
                kind=Kind.ENDS_ENVOY,
                kept=0,
                closed=change.kept,
                queued=lost,
                held=lost,
                served=False,
            )
        found.append(change)
    return found


def _refused(old: Held | None, words: str, name: str = "") -> ListenerChange:
    """Return what happens to a listener of the epoch before where the next one does not come up."""
    if old is None:
        return ListenerChange(name, (), (), "", Kind.REFUSED, served=False, words=words)
    return ListenerChange(
        old.name,
        before=old.addresses,
        after=old.addresses,
        protocol=old.protocol,
        kind=Kind.REFUSED,
        kept=len(set(old.numbers)),
        queue=old.queue,
        queue_before=old.queue,
        queued=Fate.KEPT if old.numbers else Fate.NONE,
        held=Fate.NONE if old.is_dropped else Fate.KEPT,
        served=_is_served(old),
        words=words,
    )


def _inherited(
    wanted: SocketSet,
    mine: tuple[int, ...],
    before: Any,
    workers: int,
    version: str,
) -> tuple[int, ...] | None:
    """Return the sockets of an address as the next epoch has them, None if it binds them all."""
    if wanted.address.port == 0 or not mine:
        return None
    if wanted.address.netns and not (version and satisfies(version, _NETNS_SINCE)):
        return None
    for one in before:
        for there, group in zip(one.sets, one.sockets, strict=True):
            same = there.address == wanted.address and _scheme(there) == _scheme(wanted)
            if same and group and one.binds:
                shared = there.sockets == 1
                by_worker = [group[0] if shared else number for number in group]
                by_worker = by_worker * (there.descriptors or 1) if shared else by_worker
                if len(mine) == 1 and wanted.sockets == 1:
                    return (by_worker[0],)
                return tuple(
                    by_worker[index] if index < len(by_worker) else mine[index]
                    for index in range(workers)
                )
    return None


def _scheme(one: SocketSet) -> str:
    return "TCP" if one.protocol == "MPTCP" else one.protocol


def _change(
    old: Held | None, new: Held | None, live: set[int], known: set[int], *, hot: bool, version: str
) -> ListenerChange:
    """Return what happens to one listener.

    Args:
        old: it, before; None if it was not there.
        new: it, afterwards, on the sockets that it got or made; None if it is not there.
        live: the sockets of all listeners afterwards.
        known: those of all listeners before.
        hot: whether the one before serves on until the next one does.
        version: of Envoy, "" for every one that the model knows.
    """
    mine = set(old.numbers) if old is not None else set()
    now = set(new.numbers) if new is not None else set()
    kept, gone = mine & live, mine - live
    handed = Fate.HANDED_OVER if not gone else Fate.SOME_RESET if kept else Fate.RESET
    held_on = Fate.DRAINED if hot else Fate.RESET
    reasons = () if old is None or new is None else tuple(_reasons(old, new, bool(kept), hot))
    sides = [one for one in (new, old) if one is not None]
    gap, why = _gap(new, now & known, version) if hot else (Gap.NONE, "")
    unknown = _unknown(old, new, hot, version)
    return ListenerChange(
        sides[0].name,
        before=old.addresses if old is not None and old.numbers else (),
        after=new.addresses if new is not None and new.binds else (),
        protocol=next((one.protocol for one in sides if one.protocol), ""),
        kind=_kind(old, new, bool(kept)),
        reasons=reasons,
        kept=len(kept if old is not None else now & known),
        closed=len(gone),
        made=len(now - known),
        queue=_queue(new) if new is not None else "",
        queue_before=old.queue if old is not None else "",
        queued=handed if mine else Fate.NONE,
        held=held_on if old is not None and not old.is_dropped else Fate.NONE,
        gap=gap,
        served=None if "kind" in unknown else _is_served(new),
        words=new.words if new is not None else "",
        unknown={**unknown, **({"gap": why} if why else {})},
    )


def _gap(new: Held | None, inherited: set[int], version: str) -> tuple[Gap, str]:
    """Return how long no one reads a listener's datagrams, and why that is not known.

    Args:
        new: the listener of the next epoch; None if it is not there.
        inherited: those of its sockets that it gets from the one before; it reads others at once.
        version: of Envoy, "" for every one that the model knows.
    """
    gapless = bool(version) and satisfies(version, GAPLESS_SINCE)
    if new is None or not inherited or new.protocol != "UDP" or gapless:
        return Gap.NONE, ""
    if proto_field(proto_field(new.config, "udp_listener_config"), "quic_options") is not None:
        return Gap.UNKNOWN, "before 1.40 new connections of QUIC may wait for a moment"
    if not version:
        return Gap.UNKNOWN, "before 1.40 no one reads them until the epoch before has ended"
    return Gap.PARENT_SHUTDOWN, ""


def _queue(new: Held) -> str:
    """Return how workers get connections: several on one inherited socket share its queue."""
    for one, group in zip(new.sets, new.sockets, strict=True):
        if group:
            return "dup" if len(group) > 1 and len(set(group)) == 1 else one.via
    return ""


def _kind(old: Held | None, new: Held | None, kept: bool) -> Kind:
    if old is None:
        return Kind.DROPPED if new is not None and new.is_dropped else Kind.ADDED
    if new is None:
        return Kind.REMOVED
    if new.is_dropped:
        return Kind.SAME if old.is_dropped else Kind.DROPPED
    return Kind.FULL_KEPT if kept or not (old.numbers or new.numbers) else Kind.FULL_NEW


def _is_served(new: Held | None) -> bool:
    return new is not None and (not new.binds or all(one.role == "workers" for one in new.sets))


def _unknown(old: Held | None, new: Held | None, hot: bool, version: str) -> dict[str, str]:
    found = {}
    some = new or old
    if hot and not version and some and any(place.netns for place in some.addresses):
        found["kept"] = f"{_NETNS_SINCE} hands over what is in another network namespace"
    taken_before = unnamed_options(old.sets) if old is not None else set()
    if new is not None and unnamed_options(new.sets) - taken_before:
        found["kind"] = UNNAMED
    unsure = unsure_of_unbound(new.config, version) if new is not None else ""
    if unsure:
        found["kind"] = unsure
    return found


def _reasons(old: Held, new: Held, kept: bool, hot: bool) -> Iterator[Reason]:
    for why, path, before, after in differences(old.config, new.config):
        moved = why in (Why.ADDRESS, Why.ADDRESSES, Why.PROTOCOL)
        effect = True
        if hot and kept and why is Why.REUSE_PORT:
            # The queue of the first socket stays the only one.
            effect = old.reuses_port or not new.reuses_port
        elif hot and kept:
            effect = _is_applied(why, path, before, after)
        yield Reason(
            why, path, before, after, forces_new=hot and not kept and moved, in_effect=effect
        )


def _is_applied(why: Why, path: str, before: Any, after: Any) -> bool:
    """Whether a field is applied to sockets that are handed over.

    The next epoch sets the options of its own config again, and takes none back. It does not bind,
    so that what is asked for when a socket is made or bound stays as it was.
    """
    if why is Why.SOCKET_OPTIONS:
        if path == "socket_options":
            kept = [_option(one) for one in after or []]
            return all(_option(one) in kept for one in before or [])
        return after not in (None, False)
    return why is not Why.AT_CREATION


def _option(option: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return which option of a socket it is, whatever its value."""
    return option.get("level"), option.get("name")
