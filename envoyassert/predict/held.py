"""A listener that Envoy has, with its kernel sockets, and what it says of one that it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envoyassert.addresses import Address
from envoyassert.predict.fields import has_chains, normal, options_of_sockets
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import sets_of_listener
from envoyassert.scenario.listeners import (
    address_of,
    asks_for_sockets,
    items_of,
    proto_field,
    proto_flag,
    protocol_of,
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

    Raises:
        PredictError: its config has a number that is none.
    """
    sets = sets_of_listener(name, listener, workers)
    open_ones = [one.sockets if one.descriptors else 0 for one in sets]
    sockets = tuple(tuple(number() for _ in range(count)) for count in open_ones)
    return Held(name, normal(listener), sets, sockets)


def reuses_port(listener: Any) -> bool:
    """Return whether a listener asks for SO_REUSEPORT; on Linux it does unless it says no."""
    return proto_flag(listener, "enable_reuse_port") is not False


def places_of(listener: Any) -> list[Address]:
    """Return the addresses in a listener's config, whether it binds them or not."""
    more = items_of(proto_field(listener, "additional_addresses"))
    found = (address_of(proto_field(entry, "address")) for entry in (listener, *more))
    return [address for address in found if address is not None]


def is_datagram(listener: Any) -> bool:
    """Return whether a listener is one for datagrams: its first address says so."""
    place = proto_field(listener, "address")
    address = address_of(place)
    return address is not None and protocol_of(address, place) == "UDP"


def can_share(one: Any, other: Any) -> bool:
    """Return whether a listener can go on with the sockets of another one.

    Neither `ipv4_compat`, nor the mode of a path, nor MPTCP, nor the order of addresses counts.
    Source: ListenerImpl::hasCompatibleAddress and socketOptionsEqual.
    """
    places = [Counter(map(_key, places_of(listener))) for listener in (one, other)]
    return (
        is_datagram(one) == is_datagram(other)
        and places[0] == places[1]
        and options_of_sockets(one) == options_of_sockets(other)
    )


def has_duplicate(one: Any, other: Any) -> bool:
    """Return whether two listeners have an address in common, as Envoy looks for that."""
    if is_datagram(one) != is_datagram(other):
        return False
    bound = asks_for_sockets(one)
    there = {_key(place) for place in places_of(other) if place.port != 0 or not bound}
    return bool(there & set(map(_key, places_of(one))))


def _key(place: Address) -> tuple[Address, str]:
    """Return what Envoy compares of an address: the device of a link-local one too."""
    return place, place.zone


def refused_alone(listener: Mapping[str, Any], workers: int) -> str:
    """Return what Envoy says of a listener that it takes in no case, "" if it may take it.

    Args:
        listener: its config, as `normal` has it.
        workers: how many there are.
    """
    places = places_of(listener)
    if is_datagram(listener) and not reuses_port(listener) and workers > 1:
        return (
            "Listening on UDP when concurrency is > 1 without the SO_REUSEPORT socket option "
            "results in unstable packet proxying. Configure the reuse_port listener option or set "
            "concurrency = 1."
        )
    more = items_of(proto_field(listener, "additional_addresses"))
    for pipe in (proto_field(proto_field(one, "address"), "pipe") for one in (listener, *more)):
        named = str(proto_field(pipe, "path") or "").startswith("@")
        if named and str(proto_field(pipe, "mode") or 0) != "0":
            return "Cannot set mode for Abstract AF_UNIX sockets"
    chains = has_chains(listener) or any(
        proto_field(listener, field) is not None
        for field in ("default_filter_chain", "api_listener")
    )
    if places and not is_datagram(listener) and not chains:
        return f"error adding listener '{_joined(places)}': no filter chains specified"
    return ""


def sets_unfit_options(listener: Any) -> bool:
    """Return whether a listener sets an option of IP on the socket of a path or a name."""
    flags = [proto_flag(listener, field) is True for field in ("transparent", "freebind")]
    return any(flags) and any(not place.is_ip for place in places_of(listener))


def sets_unnamed_options(sets: Iterable[SocketSet]) -> bool:
    """Return whether options are set that the model has no name for: the kernel may refuse them."""
    return any(isinstance(option.name, int) for one in sets for option in one.options)


def duplicate_words(name: str, listener: Any) -> str:
    """Return what Envoy says of a listener of which an address is another one's already."""
    return (
        f"error adding listener: '{name}' has duplicate address '{_joined(places_of(listener))}' "
        "as existing listener, to check if the listener has duplicated addresses with other "
        "listeners or 'enable_reuse_port' is set to 'false' for the listener"
    )


def taken(sets: Iterable[SocketSet], others: Iterable[SocketSet]) -> Iterator[str]:
    """Yield what Envoy says of addresses that it cannot bind beside sockets that are open.

    Args:
        sets: what is to be bound.
        others: what is open.
    """
    there = [one for one in others if one.descriptors]
    for one in sets:
        if any(map(one_conflicts(one), there)):
            yield f"cannot bind '{_text(one.address)}': Address already in use"


def one_conflicts(one: SocketSet) -> Callable[[SocketSet], bool]:
    """Return whether a socket keeps the one of `one` from being bound, as a function of it."""

    def conflicts(other: SocketSet) -> bool:
        mine, theirs = one.address, other.address
        if mine.abstract is not None or not mine.is_ip:
            return mine.abstract is not None and mine == theirs  # a path is taken over
        if not theirs.is_ip or _is_udp(one) != _is_udp(other) or mine.netns != theirs.netns:
            return False
        if mine.zone != theirs.zone:
            return False
        if not mine.port or mine.port != theirs.port or (_together(one) and _together(other)):
            return False
        families = _families(one) & _families(other)
        return mine == theirs or (bool(families) and (mine.is_wildcard or theirs.is_wildcard))

    return conflicts


def _is_udp(one: SocketSet) -> bool:
    return one.protocol == "UDP"  # TCP and MPTCP have the same ports


def _families(one: SocketSet) -> set[str]:
    """Return the families of the clients of a socket: of `::` both, unless it is V6ONLY."""
    both = any(option.name == "IPV6_V6ONLY" and option.value == 0 for option in one.options)
    return {one.address.family, "AF_INET"} if both else {one.address.family}


def _together(one: SocketSet) -> bool:
    values = [o.value for o in one.options if o.name == "SO_REUSEPORT"]
    return bool(values and values[-1])


def _joined(places: Iterable[Address]) -> str:
    return ",".join(map(_text, places))


def _text(address: Address) -> str:
    return str(address.within(""))
