"""Listeners that Envoy refuses by their config alone, and what it says.

Measured on 1.36.4 and 1.40.0, each with a config that has this fault and no other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from envoyassert.addresses import LAST_PORT, Address
from envoyassert.scenario.listeners import (
    address_of,
    asks_for_sockets,
    is_reverse_tunnel,
    items_of,
    lds_file,
    proto_field,
    proto_flag,
    proto_int,
    protocol_of,
)
from envoyassert.versions import satisfies


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


def has_duplicate(one: Any, other: Any) -> bool:
    """Return whether two listeners have an address in common, as Envoy looks for that.

    Port 0 counts where the one that is there already binds nothing (1.36.4 and 1.40.0).

    Args:
        one: the listener that comes.
        other: one that Envoy has.
    """
    if is_datagram(one) != is_datagram(other):
        return False
    bound = asks_for_sockets(other)
    asked = {place_key(place) for place in places_of(one) if place.port != 0 or not bound}
    return bool(asked & set(map(place_key, places_of(other))))


def place_key(place: Address) -> tuple[Address, str]:
    """Return what Envoy compares of an address: the device of a link-local one too."""
    return place, place.zone


def duplicate_words(name: str, listener: Any) -> str:
    """Return what Envoy says of a listener of which an address is another one's already."""
    return (
        f"error adding listener: '{name}' has duplicate address '{_joined(places_of(listener))}' "
        "as existing listener, to check if the listener has duplicated addresses with other "
        "listeners or 'enable_reuse_port' is set to 'false' for the listener"
    )


def _joined(places: Iterable[Address]) -> str:
    return ",".join(map(text_of, places))


def text_of(address: Address) -> str:
    """Return an address as Envoy prints it."""
    return str(address.within(""))


def refused_alone(listener: Any, workers: int, version: str = "") -> str:
    """Return what Envoy says of a listener that it takes in no case, "" if it may take it.

    Args:
        listener: all of its config, as `normal` has it.
        workers: how many there are.
        version: of Envoy; "" for any that is supported.
    """
    chains: dict[str, Any] = {} if is_datagram(listener) else {"filter_chains": []}
    return next(refusals_of({**chains, **listener}, workers, version), "")


def refusals_of(listener: Any, workers: int, version: str = "") -> Iterator[str]:
    """Yield for what Envoy refuses a listener, in its own words; it says one of them.

    Args:
        listener: its config.
        workers: how many there are.
        version: of Envoy; "" for any that is supported.
    """
    own = proto_field(listener, "name")
    named = f"error adding listener named '{own}': " if own else ""
    of = f"listener {own}: " if own else ""
    yield from refusals_of_options(proto_field(listener, "socket_options"))
    for entry in items_of(proto_field(listener, "additional_addresses")):
        own = proto_field(proto_field(entry, "socket_options"), "socket_options")
        yield from refusals_of_options(own)
    balance = proto_field(listener, "connection_balance_config")
    if balance is not None and all(proto_field(balance, one) is None for one in _BALANCES):
        yield _CONSTRAINT
    if proto_field(listener, "internal_listener") is not None:
        return
    if proto_field(listener, "address") is None and proto_field(listener, "api_listener") is None:
        yield f"{named}address is necessary"
    entries = (listener, *items_of(proto_field(listener, "additional_addresses")))
    at = [proto_field(entry, "address") for entry in entries]
    for place in at:
        yield from _of_place(place, named)
        # Of a further address too, Envoy looks at the first one.
        if _is_compatible(place):
            yield from _of_compatible(at[0])
    places, datagrams = places_of(listener), is_datagram(listener)
    protocols = {protocol_of(*one) for one in _read(at)}
    if "UDP" in protocols and len(protocols) > 1:
        yield f"{of}has different socket type. The listener only support same socket type for all"
    if proto_flag(listener, "enable_mptcp") is True:
        if any(not place.is_ip for place in places):
            yield f"{of}enable_mptcp can only be used with IP addresses"
        elif datagrams:
            yield f"{of}enable_mptcp can only be used with TCP listeners"
    if datagrams:
        yield from _of_datagrams(listener, workers, version, of)
    yield from _of_chains(listener, places, datagrams=datagrams)


def unsure_of_unbound(listener: Any, version: str) -> str:
    """Return why it is not known whether Envoy takes a UDP listener that is not to be bound.

    Args:
        listener: its config.
        version: of Envoy; "" for any that is supported.

    Returns:
        "" where it is known: it is refused, or it is no such listener.
    """
    unbound = is_datagram(listener) and proto_flag(listener, "bind_to_port") is False
    if not unbound or (version and satisfies(version, _REFUSES_UNBOUND)):
        return ""
    may_crash = "Envoy before 1.40 may crash at a UDP listener that is not to be bound"
    return may_crash if version else f"{may_crash}, and later ones refuse it"


def refusals_of_options(options: Any) -> Iterator[str]:
    """Yield for what Envoy refuses `socket_options`, of a listener or of the admin endpoint."""
    for option in items_of(options):
        values = [proto_field(option, field) for field in ("int_value", "buf_value")]
        if values == [None, None] or isinstance(proto_field(option, "state"), int):
            yield _CONSTRAINT


def _of_datagrams(listener: Any, workers: int, version: str, of: str) -> Iterator[str]:
    unbound = proto_flag(listener, "bind_to_port") is False
    if unbound and version and satisfies(version, _REFUSES_UNBOUND):
        yield f"{of}bind_to_port: false is not supported for UDP listeners"
    if not reuses_port(listener) and workers > 1:
        yield (
            "Listening on UDP when concurrency is > 1 without the SO_REUSEPORT socket option "
            "results in unstable packet proxying. Configure the reuse_port listener option or set "
            "concurrency = 1."
        )


def _read(at: Iterable[Any]) -> Iterator[tuple[Address, Any]]:
    for place in at:
        address = address_of(place)
        if address is not None:
            yield address, place


def refusals_of_address(place: Any) -> Iterator[str]:
    """Yield for what Envoy refuses the address of the admin endpoint."""
    yield from _of_place(place, "")
    if _is_compatible(place):
        yield from _of_compatible(place)


def _of_place(place: Any, named: str) -> Iterator[str]:
    if proto_field(place, "envoy_internal_address") is not None:
        yield f"{named}use internal_listener field instead of address for internal listeners"
    pipe, ip = proto_field(place, "pipe"), proto_field(place, "socket_address")
    if place == {}:
        yield _CONSTRAINT
    if pipe is not None:
        yield from _of_pipe(pipe)
    if ip is None:
        return
    host, port = proto_field(ip, "address"), proto_field(ip, "port_value")
    by_name = proto_field(ip, "named_port") is not None
    if not host or (port is None and not by_name) or proto_int(port or 0) > LAST_PORT:
        yield _CONSTRAINT
    elif isinstance(proto_field(ip, "protocol"), int):
        yield _CONSTRAINT  # a number that stands for no protocol
    elif is_reverse_tunnel(place):
        if not host.startswith("rc://"):
            yield "Address must start with 'rc://' for reverse connection resolver"
    elif has_resolver(place):
        return
    elif by_name:
        yield "IP resolver can't handle port specifier type"
    elif _is_no_address(host):
        yield f"malformed IP address: {host}"


def has_resolver(place: Any) -> bool:
    """Return whether an address is for another resolver than the usual one."""
    name = proto_field(proto_field(place, "socket_address"), "resolver_name")
    return bool(name) and name != "envoy.ip"


def is_compatible_alone(place: Any) -> bool:
    """Return whether an address takes IPv4 too that is one of IPv6 alone: Envoy may crash."""
    address = address_of(place)
    of_v6 = address is not None and address.family == "AF_INET6"
    return of_v6 and _is_compatible(place) and any(_of_compatible(place))


def _is_compatible(place: Any) -> bool:
    return proto_flag(proto_field(place, "socket_address"), "ipv4_compat") is True


def _of_compatible(place: Any) -> Iterator[str]:
    address = address_of(place)
    if address is None or not address.is_ip:
        return
    mapped = address.unmapped != address
    if address.family != "AF_INET6" or not (address.is_wildcard or mapped):
        yield (
            "Only IPv6 address '::' or valid IPv4-mapped IPv6 address can set ipv4_compat: "
            f"{text_of(address)}"
        )


def refusals_of_discovery(config: Any) -> Iterator[str]:
    """Yield for what Envoy refuses where listeners come from; it says one of them."""
    path = lds_file(config)
    if path and "/" not in path:
        yield f"invalid file path {path}"
        yield f"paths must refer to an existing path in the system: '{path}' does not exist"


def _of_pipe(pipe: Any) -> Iterator[str]:
    path, mode = proto_field(pipe, "path"), proto_int(proto_field(pipe, "mode") or 0)
    if not path or mode > _ALL_BITS:
        yield _CONSTRAINT
    elif isinstance(path, str):
        if path.startswith("@") and mode:
            yield "Cannot set mode for Abstract AF_UNIX sockets"
        if "${" not in path and len(path.encode()) > _LONGEST_PATH:
            yield f'Path "{path}" exceeds maximum UNIX domain socket path size of 108.'


_REFUSES_UNBOUND = ">=1.40"
_BALANCES = ("exact_balance", "extend_balance", "cpu_locality_balance")
#: `AddressValidationError`, before anything else is looked at.
_CONSTRAINT = "Proto constraint validation failed"
_ALL_BITS = 0o777
#: sun_path of sockaddr_un has 108 bytes, the last one a zero.
_LONGEST_PATH = 107


def _is_no_address(host: str) -> bool:
    """Whether a host is certainly no numeric address; some forms only getaddrinfo knows."""
    name, _, zone = host.partition("%")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return any(letter not in "0123456789.xXabcdefABCDEF:" for letter in name)
    if not zone.isascii():
        return True
    # The name of a device says something of a link-local address alone.
    return bool(zone) and not zone.isdecimal() and not address.is_link_local


def _of_chains(listener: Any, places: list[Address], *, datagrams: bool) -> Iterator[str]:
    """Yield what is wrong with filter chains; where there is no such field nothing is known."""
    chains = proto_field(listener, "filter_chains")
    if chains is None:
        return
    quic = proto_field(proto_field(listener, "udp_listener_config"), "quic_options") is not None
    default = any(
        proto_field(listener, field) is not None
        for field in ("default_filter_chain", "api_listener")
    )
    if datagrams and not quic:
        if items_of(chains):
            yield "filter chain(s) specified for connection-less UDP listener."
    elif not items_of(chains) and not default and places:
        yield f"error adding listener '{_joined(places)}': no filter chains specified"
