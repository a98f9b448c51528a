"""What sockets need of a network that is not the one in which they are used."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.draft.expected import EnvoyField, SocketSet
from envoyassert.scenario.own_namespaces import MADE, own_name

#: With one of these Envoy binds an address that is nobody's.
_ANYWHERE = {"IP_FREEBIND", "IPV6_FREEBIND", "IP_TRANSPARENT", "IPV6_TRANSPARENT"}


def addresses_of(sets: Sequence[SocketSet]) -> Iterator[EnvoyField]:
    """Yield the addresses and devices that sockets are bound to, but for those of every network.

    A socket in another network namespace needs nothing of the run's own, but where Envoy binds the
    others of its address there.
    """
    places = _places([one for one in sets if not one.address.netns or one.role == "worker_0"])
    if places:
        why = "of elsewhere: given to the run's own network"
        yield EnvoyField("addresses", places, why)


def own_namespaces(
    sets: Sequence[SocketSet],
) -> tuple[tuple[SocketSet, ...], tuple[EnvoyField, ...]]:
    """Return sockets in network namespaces that a run makes, and the field that has it make them.

    Args:
        sets: the sockets, in the namespaces that a config names.
    """
    names: dict[str, str] = {}
    made: list[Any] = []
    for file in dict.fromkeys(one.address.netns for one in sets if one.address.netns):
        name = own_name(file, names.values())
        names[file] = name
        places = _places([one for one in sets if one.address.netns == file])
        given = {"addresses": places} if places else {}
        instead = {} if file == MADE + name else {"file": file}
        made.append({"name": name, **instead, **given} if instead or given else name)
    moved = tuple(
        replace(one, address=one.address.within(MADE + names[one.address.netns]))
        if one.address.netns
        else one
        for one in sets
    )
    why = "network namespaces that are made for the run"
    return moved, (EnvoyField("netns", made, why),) if made else ()


def _places(sets: Sequence[SocketSet]) -> list[str]:
    return list(dict.fromkeys(place for one in sets if (place := _place(one))))


def _place(one: SocketSet) -> str:
    if not one.address.is_ip:
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
