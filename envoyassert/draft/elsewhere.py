"""What sockets need of a network that is not the one in which they are used."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from envoyassert.draft.expected import EnvoyField, SocketSet

#: With one of these Envoy binds an address that is nobody's.
_ANYWHERE = {"IP_FREEBIND", "IPV6_FREEBIND", "IP_TRANSPARENT", "IPV6_TRANSPARENT"}


def addresses_of(sets: Sequence[SocketSet]) -> Iterator[EnvoyField]:
    """Yield the addresses and devices that sockets are bound to, but for those of every network.

    A socket in another network namespace needs nothing of the run's own.
    """
    places = dict.fromkeys(place for one in sets if (place := _place(one)))
    if places:
        why = "of elsewhere: given to the run's own network"
        yield EnvoyField("addresses", list(places), why)


def _place(one: SocketSet) -> str:
    if not one.address.is_ip or one.address.netns:
        return ""
    early = {o.name: o.value for o in one.options if o.phase == "before_bind"}
    device = early.get("SO_BINDTODEVICE")
    device = (device.rstrip("\0") if isinstance(device, str) else "") or one.address.zone
    host = ipaddress.ip_address(one.address.host)
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    usual = host.is_unspecified or host.is_loopback or host.is_multicast
    own = "" if usual or _ANYWHERE & set(early) else str(host)
    return f"{own}%{device}" if device not in ("", "lo") else own
