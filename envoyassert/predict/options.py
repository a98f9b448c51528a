"""What Envoy sets on each socket of a listener, in the order of its calls.

Source: Envoy's ListenerImpl::buildListenSocketOptions, UdpListenerImpl and SocketOptionFactory, and
its system calls as recorded on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from envoyassert.addresses import Address
from envoyassert.predict.socket_options import socket_options_of
from envoyassert.predict.sockets import ONLY_V6, SocketOption
from envoyassert.scenario.listeners import proto_field, proto_flag, proto_int

_KEEPALIVE = (
    ("keepalive_probes", "TCP_KEEPCNT"),
    ("keepalive_interval", "TCP_KEEPINTVL"),
    ("keepalive_time", "TCP_KEEPIDLE"),
)


def options_of(
    listener: Any, entry: Any, address: Address, protocol: str, group: int
) -> Iterator[SocketOption]:
    """Yield what is set on each socket; `group` is how many share the port by SO_REUSEPORT."""
    own = proto_field(entry, "socket_options")
    if entry is not listener and own is not None:
        given = proto_field(own, "socket_options")
    else:
        given = proto_field(listener, "socket_options")
    literal = list(socket_options_of(given, protocol, address.family))
    if protocol == "UNIX":
        # Envoy sets none before it binds a path or a name, and says nothing of it.
        yield from (option for option in literal if option.phase != "before_bind")
        return
    v6 = address.family == "AF_INET6"
    level, prefix = ("IPPROTO_IPV6", "IPV6") if v6 else ("IPPROTO_IP", "IP")
    transparent = proto_flag(listener, "transparent") is True
    yield from v6only(address, proto_field(entry, "address"))
    if protocol == "TCP":
        yield SocketOption("SOL_SOCKET", "SO_REUSEADDR", 1, "before_bind")
    if transparent:
        yield SocketOption(level, f"{prefix}_TRANSPARENT", 1, "before_bind")
    if proto_flag(listener, "freebind") is True:
        yield SocketOption(level, f"{prefix}_FREEBIND", 1, "before_bind")
    if group:
        yield SocketOption("SOL_SOCKET", "SO_REUSEPORT", 1, "before_bind")
    if protocol != "UDP":
        yield from _keepalive(listener, entry)
    if transparent:
        yield SocketOption(level, f"{prefix}_TRANSPARENT", 1, "bound")
    if protocol == "UDP":
        # Nothing listens, so what is to be set after listen is not set at all.
        yield from (option for option in literal if option.phase != "listening")
        yield from _udp(listener, entry, prefix, group)
    else:
        yield from literal
    queue = proto_field(listener, "tcp_fast_open_queue_length")
    if queue is not None and protocol == "TCP":
        yield SocketOption("IPPROTO_TCP", "TCP_FASTOPEN", proto_int(queue), "listening")


def _udp(listener: object, entry: object, prefix: str, group: int) -> Iterator[SocketOption]:
    families = [prefix]
    if _is_compatible(proto_field(entry, "address")):
        families.append("IP")  # an IPv6 socket that takes IPv4 as well needs both
    level = {"IP": "IPPROTO_IP", "IPV6": "IPPROTO_IPV6"}
    for family in families:
        yield SocketOption(level[family], f"{family}_MTU_DISCOVER", 2, "before_bind")
    info = "IPV6_RECVPKTINFO" if prefix == "IPV6" else "IP_PKTINFO"
    yield SocketOption(level[prefix], info, 1, "bound")
    yield SocketOption("SOL_SOCKET", "SO_RXQ_OVFL", 1, "bound")
    yield SocketOption("IPPROTO_UDP", "UDP_GRO", 1, "bound")
    quic = proto_field(proto_field(listener, "udp_listener_config"), "quic_options")
    if quic is None:
        return
    if group > 1:
        # The filter sends each connection to its worker, so it differs with their number.
        yield SocketOption("SOL_SOCKET", "SO_ATTACH_REUSEPORT_CBPF", None, "bound")
    for family in families:
        tos = "IPV6_RECVTCLASS" if family == "IPV6" else "IP_RECVTOS"
        yield SocketOption(level[family], tos, 1, "bound")


def _keepalive(listener: object, entry: object) -> Iterator[SocketOption]:
    """Yield what keepalive sets: nothing at all if one of its fields is 0."""
    keepalive = proto_field(entry, "tcp_keepalive")
    if keepalive is None:
        keepalive = proto_field(listener, "tcp_keepalive")
    if keepalive is None:
        return
    values = {name: proto_field(keepalive, field) for field, name in _KEEPALIVE}
    given = {name: proto_int(value) for name, value in values.items() if value is not None}
    if all(given.values()):
        yield SocketOption("SOL_SOCKET", "SO_KEEPALIVE", 1, "before_bind")
        for name, value in given.items():
            yield SocketOption("IPPROTO_TCP", name, value, "before_bind")


def v6only(address: Address, place: object) -> Iterator[SocketOption]:
    """Yield what an IPv6 socket is given first: whether it takes IPv4 as well.

    Args:
        address: its address.
        place: that address in Envoy's config.
    """
    if address.family == "AF_INET6":
        yield replace(ONLY_V6, value=0) if _is_compatible(place) else ONLY_V6


def _is_compatible(place: object) -> bool:
    return proto_flag(proto_field(place, "socket_address"), "ipv4_compat") is True
