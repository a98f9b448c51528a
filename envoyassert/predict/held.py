"""A listener that Envoy has, with its kernel sockets, and what it says of one that it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoyassert.addresses import Address
from envoyassert.predict.conflicts import one_conflicts
from envoyassert.predict.fields import normal, options_of_sockets
from envoyassert.predict.refusals import is_datagram, place_key, places_of, reuses_port, text_of
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import sets_of_listener
from envoyassert.scenario.listeners import (
    asks_for_sockets,
    proto_flag,
)


@dataclass(frozen=True)
class Held:
    """A listener, and the kernel sockets by which it is reached.

    Args:
        name: of the listener.
        config: its config, as `normal` has it.
        sets: what it asks for, per address.
        sockets: its kernel sockets, per address, by numbers of their own; of a worker each, or one
            for all.
    """

    name: str
    config: Mapping[str, Any]
    sets: tuple[SocketSet, ...]
    sockets: tuple[tuple[int, ...], ...]

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
        return self.binds and any(one.role == "none" for one in self.sets)

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


def held(name: str, listener: Any, workers: int, number: Callable[[], int]) -> Held:
    """Return a listener on new kernel sockets.

    Args:
        name: its name.
        listener: its config.
        workers: how many there are.
        number: gives the number of each further kernel socket.
    """
    sets = sets_of_listener(name, listener, workers)
    open_ones = [one.sockets if one.descriptors else 0 for one in sets]
    sockets = tuple(tuple(number() for _ in range(count)) for count in open_ones)
    return Held(name, normal(listener), sets, sockets)


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


def sets_unnamed_options(sets: Iterable[SocketSet]) -> bool:
    """Return whether options are set that the model has no name for: the kernel may refuse them."""
    return any(isinstance(option.name, int) for one in sets for option in one.options)


def taken(sets: Iterable[SocketSet], others: Iterable[SocketSet]) -> Iterator[str]:
    """Yield what Envoy says of addresses that it cannot bind beside sockets that are open.

    Args:
        sets: what is to be bound.
        others: what is open.
    """
    there = [one for one in others if one.descriptors]
    for one in sets:
        if any(map(one_conflicts(one), there)):
            yield f"cannot bind '{text_of(one.address)}': Address already in use"
