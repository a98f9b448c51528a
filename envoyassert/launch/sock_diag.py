"""Which sockets the calling thread's network namespace has, as the kernel lists them: sock_diag(7).

The kernel goes through those alone that are asked for; the tables in /proc/net take milliseconds.
The messages are few and fixed (linux/inet_diag.h, linux/unix_diag.h), so they are read here: a
library for all of netlink takes longer to import than Envoy to start.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

#: States of sockets (include/net/tcp_states.h).
CLOSE, LISTEN = 7, 10
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_ERROR, _DONE = 2, 3
_RECEIVED_AT_ONCE = 1 << 16
#: The kernel answers at once; a limit anyway, so that nothing can hang.
_DEADLINE_S = 2.0
#: struct nlmsghdr and nlattr.
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
#: struct inet_diag_req_v2 and inet_diag_msg, unix_diag_req and unix_diag_msg.
_INET_REQUEST, _INET = struct.Struct("=BBxxI48x"), struct.Struct("=4x2s2x16s16xIQ4xII4xI")
_UNIX_REQUEST, _UNIX = struct.Struct("=BxxxIIIQ"), struct.Struct("=4xIQ")
_INET_DIAG_SKV6ONLY, _UNIX_DIAG_NAME, _UNIX_DIAG_RQLEN = 11, 0, 4
_SHOW_NAME, _SHOW_RQLEN = 0x01, 0x10
_RQLEN = struct.Struct("=II")


class InetSocket(NamedTuple):
    """A socket of AF_INET or AF_INET6.

    Args:
        host, port: where it is bound.
        device: index of the device that it is bound to, or 0.
        inode, cookie: which one it is.
        waiting, backlog: of one that listens, how many connections wait, and how many may.
        v6only: the option IPV6_V6ONLY; None for AF_INET.
    """

    host: str
    port: int
    device: int
    inode: int
    cookie: int
    waiting: int
    backlog: int
    v6only: bool | None


class UnixSocket(NamedTuple):
    """A socket of AF_UNIX that listens; its name is as unix(7) has it, b"" if it has none."""

    name: bytes
    inode: int
    cookie: int
    waiting: int | None
    backlog: int | None


@contextlib.contextmanager
def diagnosis() -> Iterator[socket.socket]:
    """Open what the kernel is asked by, in the calling thread's network namespace.

    Raises:
        OSError: this kernel cannot be asked.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(_DEADLINE_S)
        netlink.bind((0, 0))
        yield netlink


def inet_sockets(
    netlink: socket.socket, family: int, protocol: int, state: int
) -> Iterator[InetSocket]:
    """Yield the sockets of a family and protocol that are in a state.

    Raises:
        OSError: the kernel refused it, or the answer was cut off.
    """
    request = _INET_REQUEST.pack(family, protocol, 1 << state)
    for message in _dump(netlink, request):
        port, host, device, cookie, waiting, backlog, inode = _INET.unpack_from(message)
        v6only = _attributes(message[_INET.size :]).get(_INET_DIAG_SKV6ONLY)
        yield InetSocket(
            socket.inet_ntop(family, host[: 4 if family == socket.AF_INET else 16]),
            int.from_bytes(port, "big"),
            *(device, inode, cookie, waiting, backlog),
            None if v6only is None else bool(v6only[0]),
        )


def unix_listeners(netlink: socket.socket) -> Iterator[UnixSocket]:
    """Yield the sockets of AF_UNIX that listen.

    Raises:
        OSError: the kernel refused it, or the answer was cut off.
    """
    show = _SHOW_NAME | _SHOW_RQLEN
    for message in _dump(netlink, _UNIX_REQUEST.pack(socket.AF_UNIX, 1 << LISTEN, 0, show, 0)):
        inode, cookie = _UNIX.unpack_from(message)
        attributes = _attributes(message[_UNIX.size :])
        queues = attributes.get(_UNIX_DIAG_RQLEN)
        yield UnixSocket(
            attributes.get(_UNIX_DIAG_NAME, b""),
            *(inode, cookie),
            *((None, None) if queues is None else _RQLEN.unpack(queues)),
        )


def _dump(netlink: socket.socket, request: bytes) -> Iterator[bytes]:
    """Yield the messages of one dump, without their headers."""
    length = _HEADER.size + len(request)
    netlink.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + request)
    while True:
        data = netlink.recv(_RECEIVED_AT_ONCE)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if length < _HEADER.size or length > len(data):
                raise OSError(errno.EMSGSIZE, "a netlink message was cut off")
            message, data = data[_HEADER.size : length], data[length + -length % 4 :]
            if kind in (_ERROR, _DONE):
                number = -int.from_bytes(message[:4], sys.byteorder, signed=True)
                if number:
                    raise OSError(number, os.strerror(number))
                return
            yield message


def _attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes behind a message, by their types."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]
    return found
