"""What a drafted scenario says, and what its sockets need of another network than their own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envoyassert.errors import EnvoyAssertError
from envoyassert.predict.sockets import SocketSet
from envoyassert.scenario.own_namespaces import MADE


class DraftError(EnvoyAssertError):
    """Nothing can be drafted from this."""


@dataclass(frozen=True)
class EnvoyField:
    """A field of `envoy` that a config needs to start away from where it is used.

    Args:
        key: which field.
        value: what it is.
        why: what it does to the config, for a comment and for a message.
    """

    key: str
    value: Any
    why: str


@dataclass(frozen=True)
class Draft:
    """All that a drafted scenario says.

    Args:
        concurrency: workers that are asked for, as on Envoy's command line.
        sets: the sockets, per address.
        closed: whether there must be no other sockets.
        admin: whether `/ready` can be asked.
        starts: whether Envoy takes the config, and does not end.
        requires: bounds of Envoy's version, or "".
        assume: what is taken for granted of the trace that this is drafted from.
        notes: what the reader must know of what was drafted, a line each.
        actions: those of the notes that ask for something to be done.
        silences: what the reader must know of the expectations, a line each.
        envoy: what is said of Envoy beside its config and concurrency.
    """

    concurrency: int
    sets: tuple[SocketSet, ...]
    closed: bool = True
    admin: bool = True
    starts: bool = True
    requires: str = ""
    assume: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    silences: tuple[str, ...] = ()
    envoy: tuple[EnvoyField, ...] = ()


#: With one of these Envoy binds an address that no device has.
_ANYWHERE = {"IP_FREEBIND", "IPV6_FREEBIND", "IP_TRANSPARENT", "IPV6_TRANSPARENT"}


def addresses_of(sets: Sequence[SocketSet]) -> Iterator[EnvoyField]:
    """Yield the addresses and devices that sockets are bound to, but for those of every network.

    A socket in another network namespace needs nothing of the run's own, but where Envoy binds the
    others of its address there.
    """
    places = _places([one for one in sets if not one.address.netns or one.role == "worker_0"])
    # A zone is looked up where Envoy is, wherever its address is bound.
    known = {place.partition("%")[2] for place in places}
    zones = (one.address.zone for one in sets if one.address.netns)
    places += [f"%{zone}" for zone in dict.fromkeys(zones) if zone not in ("", "lo", *known)]
    if places:
        why = "of elsewhere: given to the run's own network"
        yield EnvoyField("addresses", places, why)


def namespace_fields(sets: Sequence[SocketSet], names: Mapping[str, str]) -> Iterator[EnvoyField]:
    """Yield the network namespaces that a run makes, with the addresses that are bound in them.

    Args:
        sets: the sockets, in those namespaces.
        names: their names, by the files of the config whose place they take.
    """
    made: list[object] = []
    for file, name in names.items():
        places = _places([one for one in sets if one.address.netns == MADE + name])
        given = {"addresses": places} if places else {}
        instead = {} if file == MADE + name else {"file": file}
        made.append({"name": name, **instead, **given} if instead or given else name)
    if made:
        yield EnvoyField("netns", made, "network namespaces that are made for the run")


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
