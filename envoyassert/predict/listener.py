"""The sockets of one listener, per address, as Envoy makes them at its start.

Source: Envoy's listener_manager (ListenerImpl, ListenSocketFactoryImpl) and its system calls as
recorded on 1.36.4 and 1.40.0, which do the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.predict.options import options_of
from envoyassert.predict.socket_options import not_listening
from envoyassert.predict.sockets import ONLY_V6, SocketOption, SocketSet
from envoyassert.scenario.listeners import (
    address_of,
    items_of,
    proto_field,
    proto_flag,
    proto_int,
    protocol_of,
)

#: How Envoy registers what listens, and datagram sockets.
LEVEL = ("EPOLLIN",)
_EDGE = ("EPOLLIN", "EPOLLOUT", "EPOLLET")


def _reuses_port(listener: object) -> bool:
    """Whether each worker has a socket; the deprecated field can only switch that on."""
    return proto_flag(listener, "enable_reuse_port") is not False


def takes_one_worker(listener: object) -> bool:
    """Whether Envoy refuses more than one worker: of UDP without SO_REUSEPORT."""
    place = proto_field(listener, "address")
    address = address_of(place)
    is_udp = address is not None and protocol_of(address, place) == "UDP"
    return is_udp and not _reuses_port(listener)


def sets_of(name: str, listener: object, workers: int) -> Iterator[SocketSet]:
    """Yield the sockets that a listener asks for, per address.

    Args:
        name: its name.
        listener: its config.
        workers: how many there are.
    """
    more = items_of(proto_field(listener, "additional_addresses"))
    for entry in (listener, *more):
        place = proto_field(entry, "address")
        address = address_of(place)
        if address is None:
            continue
        protocol = protocol_of(address, place)
        reuse = _reuses_port(listener) and protocol != "UNIX"
        sockets = workers if reuse else 1
        options = tuple(options_of(listener, entry, address, protocol, sockets if reuse else 0))
        balance = proto_field(listener, "connection_balance_config")
        # Whether this balancer attaches a packet filter depends on the CPUs of the machine.
        exact = proto_field(balance, "cpu_locality_balance") is None or not (
            reuse or protocol == "UNIX"
        )
        mapped = address.port == 0 and address.unmapped != address and ONLY_V6 not in options
        late = any(o.phase == "bound" and o.level == "IPPROTO_IPV6" for o in options)
        if mapped and (sockets > 1 or protocol == "UDP" or late):
            # The first socket is bound to the mapped address, and the options that it gets then,
            # as the other sockets, are those of the address that it maps.
            exact, options = False, tuple(o for o in options if o.level == "SOL_SOCKET")
        if protocol == "TCP" and proto_flag(listener, "enable_mptcp") is True:
            protocol = "MPTCP"
        backlog = proto_field(listener, "tcp_backlog_size")
        is_udp = protocol == "UDP"
        found = SocketSet(
            name=name,
            address=address,
            protocol=protocol,
            sockets=sockets,
            bound_by="main",
            descriptors=workers,
            role="workers",
            via=_via(options, sockets, workers),
            mask=_EDGE if is_udp else LEVEL,
            options=options,
            exact=exact,
            listens=None if is_udp else workers,
            listen_by="main",
            backlog=None if is_udp else _backlog(backlog),
            file=file_of(address, place),
        )
        if _leaves_namespace(found):
            # Envoy asks for a port in the namespace, and binds the other sockets to it in its own.
            listens = None if is_udp else 1
            found = replace(
                found, sockets=1, descriptors=1, role="worker_0", via="", listens=listens
            )
        yield found


def _backlog(value: object) -> int:
    """Return what listen() is called with, an int of C, of a number of 32 bits."""
    return -1 if value is None else (proto_int(value) + 2**31) % 2**32 - 2**31


def _leaves_namespace(found: SocketSet) -> bool:
    return found.address.port == 0 and bool(found.address.netns) and found.sockets > 1


def held(sets: Sequence[SocketSet], listener: object) -> Iterator[SocketSet]:
    """Yield the Unix sockets of a listener with `bind_to_port: false`: bound, and left so."""
    if proto_field(listener, "internal_listener") is None:
        nothing: tuple[str, ...] = ()
        for one in filter(lambda one: one.protocol == "UNIX", sets):
            held = not_listening(one)
            yield replace(held, role="none", via="", mask=nothing, backlog=None, listen_by="")


def _via(options: tuple[SocketOption, ...], sockets: int, workers: int) -> str:
    """Return how the sockets reach the workers; an option of the user's own may have it changed."""
    early = [o for o in options if o.name == "SO_REUSEPORT" and o.phase == "before_bind"]
    together = bool(early and early[-1].value)
    if together == (sockets > 1) or workers == 1:
        return "reuse_port" if together else "dup"
    return ""


def file_of(address: Address, place: object) -> tuple[bool, str] | None:
    """Return what is done to the file of a path: removed before bind, and given a mode."""
    if address.path is None:
        return None
    mode = proto_int(proto_field(proto_field(place, "pipe"), "mode") or 0)
    return True, f"{mode:04o}" if mode else "umask"
