"""Where a client goes: what the scenario says, and nothing in its place.

What a selector leaves open is taken from the listeners that it fits: of an address the protocol and
the network namespace, of a name or a port the address. Where these differ it is a problem.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from envoyassert.addresses import Address, canonical_host
from envoyassert.frozen import frozen
from envoyassert.graph.lookup import ANY_IPV4, ANY_IPV6, unmapped
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.vocabulary import did_you_mean


class DestinationError(Exception):
    """A selector does not say where a client goes.

    Args:
        message: what is wrong.
        remedy: what to write instead.
        ambiguous: whether it fits too much, not too little.
    """

    def __init__(self, message: str, remedy: str, ambiguous: bool = False) -> None:
        super().__init__(f"{message} ({remedy})")
        self.message = message
        self.remedy = remedy
        self.ambiguous = ambiguous


@frozen
class ListenerPlace:
    """One address of a listener.

    Args:
        name: the listener's, "" for a socket of no listener of the config.
        protocol: `TCP`, `UDP`, `MPTCP` or `UNIX`.
        configured: the address as configured, port 0 where the kernel was to choose.
        address: the address that it has; port 0 while that is not known.
        rank: how many addresses before it in the same listener are equal.
    """

    name: str
    protocol: str
    configured: Address
    address: Address
    rank: int = 0


def configured_places(listeners: Sequence[ListenerRecord]) -> Iterator[ListenerPlace]:
    """Yield the addresses of listeners, as far as the config alone has them."""
    for record in listeners:
        for position, address in enumerate(record.addresses):
            rank = record.addresses[:position].count(address)
            yield ListenerPlace(record.name, record.protocol_at(address), address, address, rank)


def destination(
    selector: Selector, places: Sequence[ListenerPlace], names: Collection[str] = ()
) -> tuple[str, Address]:
    """Return by which protocol, and where to, the clients of a selector go.

    A wildcard remains one: its clients use the loopback address.

    Args:
        selector: what the scenario says.
        places: the addresses of listeners.
        names: all listeners by the config, those without an address too.

    Raises:
        DestinationError: it does not say where.
    """
    if selector.path is not None:
        return "UNIX", Address("AF_UNIX", path=selector.path)
    if selector.abstract is not None:
        return "UNIX", Address("AF_UNIX", abstract=selector.abstract)
    if selector.protocol == "UNIX":
        raise DestinationError("a Unix socket has no port", "give `path` or `abstract`")
    fitting = [place for place in places if _fits(selector, place)]
    near = fitting if selector.address is None else _near(selector, fitting)
    found = {(*_asked(selector, place), place.rank) for place in near}
    if len(found) > 1:
        words = sorted({f"{protocol} {address}" for protocol, address, _ in found})
        raise DestinationError(
            f"{selector} does not say where a client goes: {', '.join(words)}",
            _what_differs(selector, found),
            ambiguous=True,
        )
    if found:
        ((protocol, address, _),) = found
        return protocol, address
    if selector.name is not None or selector.address is None:
        raise _nowhere(selector, places, names)
    assert isinstance(selector.port, int)  # steps know no variables
    address = Address.inet(selector.address, selector.port)
    return selector.protocol or "TCP", address.within(selector.namespace or "")


def _fits(selector: Selector, place: ListenerPlace) -> bool:
    if selector.name is not None:
        return place.name == selector.name and selector.port in (None, place.configured.port)
    return (
        place.address.port == selector.port
        and selector.namespace in (None, place.address.netns)
        and (selector.protocol is None or _on_the_wire(selector.protocol) == place.protocol)
    )


def _near(selector: Selector, fitting: list[ListenerPlace]) -> list[ListenerPlace]:
    """Return the places whose clients ask for an address, else those that at least share its port.

    A listener that is named has the address, or a wildcard that covers it.
    """
    host = canonical_host(selector.address or "")
    exact = [place for place in fitting if place.address.host == host]
    if exact:
        return exact
    covering = [place for place in fitting if _covers(place.address.host, host)]
    return covering or ([] if selector.name is not None else fitting)


def _covers(bound: str, host: str) -> bool:
    # Whether `::` accepts clients of IPv4 is for the run to show.
    return bound == ANY_IPV6 or (unmapped(bound) == ANY_IPV4 and ":" not in unmapped(host))


def _asked(selector: Selector, place: ListenerPlace) -> tuple[str, Address]:
    address = place.address
    if selector.address is not None and address.port is not None:
        address = Address.inet(selector.address, address.port).within(address.netns)
    return selector.protocol or _on_the_wire(place.protocol), address


def _on_the_wire(protocol: str) -> str:
    """Return what a client of a protocol begins with: an MPTCP listener takes TCP as well."""
    return "TCP" if protocol == "MPTCP" else protocol


def _what_differs(selector: Selector, found: Collection[tuple[str, Address, int]]) -> str:
    """Return which words would distinguish destinations."""
    parts: dict[str, set[Any]] = {
        "address": {address.host for _, address, _ in found},
        "port": {address.port for _, address, _ in found},
        "protocol": {protocol for protocol, _, _ in found},
        "netns": {address.netns for _, address, _ in found},
    }
    words = [word for word, values in parts.items() if len(values) > 1]
    if not words:
        return "give one of the equal addresses a port of its own"
    if selector.name is not None and not set(words) <= {"address", "port"}:
        return f"leave out `name`, and give `address`, `port` and `{words[-1]}`"
    return f"add {' and '.join(f'`{word}`' for word in words)}"


def _nowhere(
    selector: Selector, places: Sequence[ListenerPlace], names: Collection[str]
) -> DestinationError:
    if selector.name is None:
        return DestinationError(
            f"no listener has {selector}",
            f"add `address`, as in {{address: 127.0.0.1, port: {selector.port}}}: it may be one "
            "that no listener has",
        )
    if selector.name not in names:
        remedy = did_you_mean(selector.name, names) or f"it has: {', '.join(names) or 'none'}"
        return DestinationError(f"the config has no listener `{selector.name}`", remedy)
    own = [str(place.address) for place in places if place.name == selector.name]
    if own:
        return DestinationError(
            f"listener `{selector.name}` is not at {selector}, but at {', '.join(own)}",
            "leave out `name`, and give `address` and `port`: they may be those of no listener",
        )
    return DestinationError(
        f"listener `{selector.name}` has no socket of its own",
        "give `address` and `port` of what a client asks for",
    )
