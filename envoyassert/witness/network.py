"""Ask the kernel which sockets of a network namespace are for clients (sock_diag(7)).

The messages are pyroute2's; its own socket for them drops the kernel's error replies, so they go
over a plain one. What listens is asked for (TCP, Unix), and what is bound without a peer (UDP).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyroute2.netlink.diag import (
    SOCK_DIAG_BY_FAMILY,
    SS_CLOSE,
    SS_LISTEN,
    UDIAG_SHOW_NAME,
    UDIAG_SHOW_RQLEN,
    inet_diag_msg,
    inet_diag_req,
    unix_diag_msg,
    unix_diag_req,
)

from envoyassert.accounts import Network, NetworkSocket
from envoyassert.addresses import Address

# asm-generic/socket.h; absent from Python's socket module in some versions.
_SO_NETNS_COOKIE = 71
_NETLINK_SOCK_DIAG = 4
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_ERROR, _DONE = 2, 3
_HEADER = 16
_RECEIVED_AT_ONCE = 1 << 16
#: The kernel answers at once; a limit anyway, so that nothing can hang.
_DEADLINE_S = 2.0
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
_INET = (
    ("TCP", socket.AF_INET, socket.IPPROTO_TCP, SS_LISTEN),
    ("TCP", socket.AF_INET6, socket.IPPROTO_TCP, SS_LISTEN),
    ("UDP", socket.AF_INET, socket.IPPROTO_UDP, SS_CLOSE),
    ("UDP", socket.AF_INET6, socket.IPPROTO_UDP, SS_CLOSE),
)


class _UnixMessage(unix_diag_msg):  # type: ignore[misc]  # pyroute2 has no types
    # As bytes: the NUL in front is what distinguishes an abstract name from a path (unix(7)).
    nla_map = tuple(
        (name, "cdata" if name == "UNIX_DIAG_NAME" else kind)
        for name, kind in unix_diag_msg.nla_map
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
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_DEADLINE_S)
        netlink.bind((0, 0))
        for protocol, family, number, state in _INET:
            request = inet_diag_req()
            request["sdiag_protocol"] = number
            request["idiag_states"] = 1 << state
            sockets += [
                _inet_socket(protocol, message)
                for message in _dump(netlink, request, family, inet_diag_msg)
            ]
        request = unix_diag_req()
        request["udiag_states"] = 1 << SS_LISTEN
        request["udiag_show"] = UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN
        sockets += map(_unix_socket, _dump(netlink, request, socket.AF_UNIX, _UnixMessage))
    return Network(tuple(sockets), _somaxconn())


def _dump(
    netlink: socket.socket, request: Any, family: int, form: Callable[..., Any]
) -> Iterator[Any]:
    """Yield the messages of one dump, decoded.

    Raises:
        OSError: the kernel refused it, or the answer was cut off.
    """
    request["sdiag_family"] = family
    request["header"]["type"] = SOCK_DIAG_BY_FAMILY
    request["header"]["flags"] = _REQUEST_DUMP
    request.encode()
    netlink.send(bytes(request.data))
    while True:
        data = netlink.recv(_RECEIVED_AT_ONCE)
        offset = 0
        while offset < len(data):
            length = int.from_bytes(data[offset : offset + 4], "little")
            kind = int.from_bytes(data[offset + 4 : offset + 6], "little")
            if length < _HEADER or offset + length > len(data):
                raise OSError(errno.EMSGSIZE, "a netlink message was cut off")
            if kind in (_ERROR, _DONE):
                code = data[offset + _HEADER : offset + _HEADER + 4]
                number = -int.from_bytes(code, "little", signed=True)
                if number:
                    raise OSError(number, os.strerror(number))
                return
            message = form(data, offset=offset)
            message.decode()
            yield message
            offset += (length + 3) & ~3


def _inet_socket(protocol: str, message: Any) -> NetworkSocket:
    listens = protocol == "TCP"
    v6only = message.get_attr("INET_DIAG_SKV6ONLY")
    return NetworkSocket(
        protocol,
        Address.inet(message["idiag_src"], message["idiag_sport"]),
        message["idiag_inode"],
        message["idiag_cookie"],
        message["idiag_rqueue"] if listens else None,
        message["idiag_wqueue"] if listens else None,
        _device(message["idiag_if"]),
        None if v6only is None else bool(v6only),
    )


def _device(index: int) -> str:
    """Return the name of a device of the namespace that the calling thread is in, "" for 0."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return f"device {index}"  # it is gone; the socket stays bound to its number


def _unix_socket(message: Any) -> NetworkSocket:
    queues = message.get_attr("UNIX_DIAG_RQLEN") or {}
    return NetworkSocket(
        "UNIX",
        _unix_address(message.get_attr("UNIX_DIAG_NAME")),
        message["udiag_ino"],
        message["udiag_cookie"],
        queues.get("udiag_rqueue"),
        queues.get("udiag_wqueue"),
    )


def _unix_address(name: bytes | None) -> Address | None:
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
