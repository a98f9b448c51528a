"""A listener that Envoy has, with its kernel sockets, and what it says of one that it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envoyassert.addresses import Address
from envoyassert.predict.conflicts import conflicts_within, is_never_bound, one_conflicts
from envoyassert.predict.fields import normal, options_of_sockets
from envoyassert.predict.refusals import is_datagram, place_key, places_of, reuses_port, text_of
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import sets_of_listener, words_of_giving_up
from envoyassert.scenario.listeners import (
    asks_for_sockets,
    proto_flag,
)

#: Why it is not known what happens to a listener.
UNNAMED = "whether the kernel takes options that have no name here"


@dataclass(frozen=True)
class Held:
    """A listener, and the kernel sockets by which it is reached.

    Args:
        name: of the listener.
        config: its config, as `normal` has it.
        sets: what it asks for, per address.
        sockets: its kernel sockets, per address, by numbers of their own; of a worker each, or one
            for all.
        words: what Envoy says where it gives it up when it begins to listen, "" where it does not.
    """

    name: str
    config: Mapping[str, Any]
    sets: tuple[SocketSet, ...]
    sockets: tuple[tuple[int, ...], ...]
    words: str = ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its kernel sockets, of all addresses."""
        return tuple(number for group in self.sockets for number in group)

    @property
    def binds(self) -> bool:
        """Whether it asks for sockets of its own."""
        return asks_for_sockets(self.config)

    @property
    def reuses_port(self) -> bool:
        """Whether it asks for a socket for each worker, whatever its addresses are."""
        return reuses_port(self.config)

    @property
    def is_dropped(self) -> bool:
        """Whether Envoy gives it up when it begins to listen."""
        return bool(self.words)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which it has sockets."""
        return tuple(one.address for one in self.sets)

    @property
    def protocol(self) -> str:
        """The protocol of its first address, "" if it has none."""
        return self.sets[0].protocol if self.sets else ""

    @property
    def queue(self) -> str:
        """How its workers get connections: `reuse_port`, `dup`, or "" where it has no socket."""
        live = [one for one in self.sets if one.descriptors]
        return live[0].via if live else ""


def held(
    name: str,
    listener: Any,
    workers: int,
    number: Callable[[], int],
    listening: Sequence[SocketSet] = (),
) -> Held:
    """Return a listener on new kernel sockets.

    Args:
        name: its name.
        listener: its config.
        workers: how many there are.
        number: gives the number of each further kernel socket.
        listening: sockets that listen already.
    """
    sets = sets_of_listener(name, listener, workers, listening)
    open_ones = [one.sockets if one.descriptors else 0 for one in sets]
    sockets = tuple(tuple(number() for _ in range(count)) for count in open_ones)
    words = words_of_giving_up(name, listener, workers, listening)
    return Held(name, normal(listener), sets, sockets, words)


def started(
    listeners: Mapping[str, Any], workers: int, number: Callable[[], int]
) -> dict[str, Held]:
    """Return listeners on new kernel sockets, as a start leaves them.

    One that cannot listen beside those before it is given up: Envoy binds all, and has them listen
    one after the other.

    Args:
        listeners: their configs by their names.
        workers: how many there are.
        number: gives the number of each further kernel socket.
    """
    found: dict[str, Held] = {}
    for name, listener in listeners.items():
        there = [sets for one in found.values() for sets in one.sets]
        found[name] = held(name, listener, workers, number, there)
    return found


def can_share(one: Any, other: Any) -> bool:
    """Return whether a listener can go on with the sockets of another one.

    Neither `ipv4_compat`, nor the mode of a path, nor MPTCP, nor the order of addresses counts.
    Source: ListenerImpl::hasCompatibleAddress and socketOptionsEqual.
    """
    places = [Counter(map(place_key, places_of(listener))) for listener in (one, other)]
    return (
        is_datagram(one) == is_datagram(other)
        and places[0] == places[1]
        and options_of_sockets(one) == options_of_sockets(other)
    )


def sets_unfit_options(listener: Any) -> bool:
    """Return whether a listener sets an option of IP on the socket of a path or a name."""
    flags = [proto_flag(listener, field) is True for field in ("transparent", "freebind")]
    return any(flags) and any(not place.is_ip for place in places_of(listener))


def unnamed_options(sets: Iterable[SocketSet]) -> set[tuple[str, int]]:
    """Return the options that are set and have no name here: the kernel may refuse them."""
    options = [option for one in sets for option in one.options]
    return {(str(one.level), one.name) for one in options if isinstance(one.name, int)}


def taken(sets: Sequence[SocketSet], others: Iterable[SocketSet]) -> Iterator[str]:
    """Yield what Envoy says of addresses that it cannot bind: beside open sockets, or at all.

    Args:
        sets: what is to be bound.
        others: what is open.
    """
    there = [one for one in others if one.descriptors]
    conflicting = [one for one in sets if any(map(one_conflicts(one), there))]
    for one in (*conflicting, *conflicts_within(sets)):
        yield f"cannot bind '{text_of(one.address)}': Address already in use"
    for one in filter(is_never_bound, sets):
        yield f"cannot bind '{text_of(one.address)}': Invalid argument"
