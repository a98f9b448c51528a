"""What a drafted scenario pins: per address of a listener, its sockets and what is done to them.

What these need of a network that is not the one in which they are used is here too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envoyassert.addresses import Address
from envoyassert.errors import EnvoyAssertError
from envoyassert.option_values import OptionValue
from envoyassert.scenario.own_namespaces import MADE


class DraftError(EnvoyAssertError):
    """Nothing can be drafted from this."""


@dataclass(frozen=True)
class DraftOption:
    """One setsockopt on each socket.

    Args:
        level: its name, or its number if it has none.
        name: likewise.
        value: a number, text, or a value's parts; None if it is not to be compared.
        phase: `before_bind`, `bound` or `listening`.
    """

    level: str | int
    name: str | int
    value: OptionValue
    phase: str


@dataclass(frozen=True)
class SocketSet:
    """The sockets of one address.

    Args:
        name: name of the listener; `admin` for the admin endpoint.
        address: the configured address, port 0 where the kernel chooses.
        protocol: `TCP`, `MPTCP`, `UDP` or `UNIX`.
        sockets: successful bind() calls, each on a kernel socket of its own.
        bound_by: which threads make them: a role, or "" if that is not expected.
        descriptors: descriptors of these sockets that stay open; None if that is not known.
        role: who serves them: `main`, `workers`, `none`, or "" if that is not expected.
        via: `reuse_port`, `dup`, `shared_fd`, or "".
        mask: with which bits they stand in the epolls; () if that is not expected.
        options: in the order of the calls, on each socket.
        exact: whether no other options are set on any of them.
        listens: successful listen() calls; None where the protocol has none.
        listen_by: which threads make them, as `bound_by`.
        backlog: what listen() is called with; None where nothing listens.
        file: of a path: whether it is removed before bind, and its mode as a scenario writes it.
    """

    name: str
    address: Address
    protocol: str
    sockets: int
    bound_by: str
    descriptors: int | None
    role: str
    via: str
    mask: tuple[str, ...]
    options: tuple[DraftOption, ...]
    exact: bool
    listens: int | None
    listen_by: str
    backlog: int | None
    file: tuple[bool, str] | None = None


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
