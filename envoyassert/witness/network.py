"""Ask the kernel which sockets of a network namespace are for clients (sock_diag(7)).

What listens is asked for (TCP, Unix), and what is bound without a peer (UDP).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from envoyassert.accounts import Network, NetworkSocket
from envoyassert.addresses import Address
from envoyassert.launch.sock_diag import (
    CLOSE,
    LISTEN,
    InetSocket,
    UnixSocket,
    diagnosis,
    inet_sockets,
    unix_listeners,
)

# asm-generic/socket.h; absent from Python's socket module in some versions.
_SO_NETNS_COOKIE = 71
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
_INET = (
    ("TCP", socket.AF_INET, socket.IPPROTO_TCP, LISTEN),
    ("TCP", socket.AF_INET6, socket.IPPROTO_TCP, LISTEN),
    ("UDP", socket.AF_INET, socket.IPPROTO_UDP, CLOSE),
    ("UDP", socket.AF_INET6, socket.IPPROTO_UDP, CLOSE),
)


def ask_networks(in_netns: Callable[..., Any], others: Collection[str] = ()) -> Network:
    """Return what Envoy's network namespaces hold; why one could not be asked is in `error`.

    Args:
        in_netns: runs a call inside Envoy's namespace, or with a second argument in another one.
        others: the other ones, by the files that Envoy enters them by.
    """
    try:
        found: Network = in_netns(_ask)
        for netns in others:
            other: Network = in_netns(_ask, netns)
            placed = (replace(one, address=_within(one.address, netns)) for one in other.sockets)
            found = replace(
                found,
                sockets=(*found.sockets, *placed),
                others={**found.others, netns: other.somaxconn},
            )
    except OSError as error:
        return Network(error=f"the network namespace could not be asked: {error}")
    return found


def names_by_cookie(in_netns: Callable[..., Any], others: Collection[str]) -> dict[int, str]:
    """Return the network namespaces by the kernel's number of each (SO_NETNS_COOKIE, Linux 5.14).

    Of two names of one namespace the first one counts. One that cannot be entered is left out.
    """
    found: dict[int, str] = {}
    for netns in ("", *others):
        with contextlib.suppress(OSError):
            found.setdefault(in_netns(_own_cookie, netns), netns)
    return found


def _own_cookie() -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asked:
        return netns_cookie(asked)


def netns_cookie(asked: socket.socket) -> int:
    """Return the kernel's number of the network namespace of a socket.

    Raises:
        OSError: the kernel is older than 5.14.
    """
    value = asked.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
    return int.from_bytes(value, sys.byteorder)


def _within(address: Address | None, netns: str) -> Address | None:
    return None if address is None else address.within(netns)


def _ask() -> Network:
    sockets: list[NetworkSocket] = []
    with diagnosis() as netlink:
        for protocol, family, number, state in _INET:
            found = inet_sockets(netlink, family, number, state)
            sockets += [_inet_socket(protocol, one) for one in found]
        sockets += map(_unix_socket, unix_listeners(netlink))
    return Network(tuple(sockets), _somaxconn())


def _inet_socket(protocol: str, found: InetSocket) -> NetworkSocket:
    listens = protocol == "TCP"
    return NetworkSocket(
        protocol,
        Address.inet(found.host, found.port),
        found.inode,
        found.cookie,
        found.waiting if listens else None,
        found.backlog if listens else None,
        _device(found.device),
        found.v6only,
    )


def _device(index: int) -> str:
    """Return the name of a device of the namespace that the calling thread is in, "" for 0."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return f"device {index}"  # it is gone; the socket stays bound to its number


def _unix_socket(found: UnixSocket) -> NetworkSocket:
    address = _unix_address(found.name)
    return NetworkSocket("UNIX", address, found.inode, found.cookie, found.waiting, found.backlog)


def _unix_address(name: bytes) -> Address | None:
    if not name:
        return None
    if name[:1] == b"\0":
        return Address("AF_UNIX", abstract=os.fsdecode(name[1:]))
    return Address("AF_UNIX", path=os.fsdecode(name.rstrip(b"\0")))


def _somaxconn() -> int | None:
    """Return the limit of the namespace that the calling thread is in."""
    try:
        return int(_SOMAXCONN.read_text("ascii"))
    except (OSError, ValueError):
        return None
