"""Requests to Envoy's admin endpoint.

Envoy does not answer HTTP/1.0; each request has a connection of its own, which Envoy closes.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import struct
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

from envoyassert.addresses import Address
from envoyassert.launch.inside import connect_inside
from envoyassert.launch.sock_diag import LISTEN, diagnosis, inet_sockets

#: What a path is answered with that `admin.allow_paths` leaves out.
FORBIDDEN = 403
#: How long a request may take in all, and how large a reply may be: none that is asked for comes
#: near either. That of /listeners has 200 bytes for each; read, JSON may take 50 times its size.
DEADLINE_S = 2.0
REPLY_BYTES = 4 << 20
#: Of what a reply says, so many characters are shown as a reason or a name.
_SHOWN = 200
#: The largest number of a statistic, 2**64, has 20 digits.
_NUMBER = re.compile("[0-9]{1,20}")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, never bound


#: How long a list of a reply may be.
MOST = 1 << 16


class AdminUnreachableError(OSError):
    """The admin endpoint did not answer: not there yet, gone, or too slow."""


class AdminIncompleteError(AdminUnreachableError):
    """A reply began, and has no end in time, or is larger than any that is asked for."""


def shortened(text: str) -> str:
    """Return the beginning of what a reply says, long enough for a reason or a name."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def stats_of(body: str) -> dict[str, int]:
    """Return the numbers that `/stats` prints, by their names; what is no number is left out."""
    pairs = (line.rpartition(": ") for line in body.splitlines())
    return {name: int(value) for name, _, value in pairs if _NUMBER.fullmatch(value)}


def connect_admin(
    address: Address, root: str, timeout_s: float, pid: Callable[[], int] | None = None
) -> socket.socket:
    """Connect to an admin endpoint; call it inside Envoy's network namespace.

    The next epoch of a hot restart is at the address of the one before, which answers there until
    it was asked to let go. So it matters who listens.

    Args:
        address: where it listens; a wildcard is reached by loopback.
        root: the root directory of paths of Unix sockets, `/proc/<pid>/root` or "/".
        timeout_s: for connecting, and later for each read.
        pid: returns the process that must listen there, as seen from here; None for any. It is
            asked once something listens.

    Raises:
        OSError: nothing listens there, or another process does.
    """
    if address.is_ip and pid is not None:
        listening = set(_listening(address.port or 0))
        if not listening or not _has(pid(), listening):
            raise ConnectionRefusedError("the process does not listen there")
    connection = socket.socket(getattr(socket, address.family), socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        if address.is_ip:
            host = _WILDCARDS.get(address.host, address.target)
            connection.connect((host, address.port or 0))
        elif address.abstract is not None:
            connection.connect(f"\0{address.abstract}")
        else:
            connect_inside(connection, root, address.path or "")
        if pid is not None and not address.is_ip and _peer(connection) not in (0, pid()):
            raise ConnectionRefusedError("the process does not listen there")
    except BaseException:
        connection.close()
        raise
    return connection


def _peer(connection: socket.socket) -> int:
    """Return which process called listen() on the other side (unix(7)), 0 if it is not visible."""
    credentials = struct.Struct("iII")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    return int(credentials.unpack(found)[0])


def _has(pid: int, sockets: Container[str]) -> bool:
    """Return whether a process has one of these sockets; True where it may not be looked at."""
    descriptors = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(descriptors):  # noqa: PTH208 - names alone
            with contextlib.suppress(FileNotFoundError):  # closed since
                if os.readlink(f"{descriptors}/{name}") in sockets:  # noqa: PTH115 - text
                    return True
    except PermissionError:
        return True
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has ended
    return False


def _listening(port: int) -> Iterator[str]:
    """Yield what the descriptors of sockets that listen on a port link to, in this namespace."""
    try:
        with diagnosis() as netlink:
            for family in (socket.AF_INET, socket.AF_INET6):
                for one in inet_sockets(netlink, family, socket.IPPROTO_TCP, LISTEN):
                    if one.port == port:
                        yield f"socket:[{one.inode}]"
    except OSError:
        yield from _in_tables(port)  # a kernel that has not got this


def _in_tables(port: int) -> Iterator[str]:
    """Yield the same from /proc (proc(5), net/tcp): several milliseconds of work."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            path = Path(f"/proc/thread-self/net/{table}")
            for line in path.read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if int(fields[3], 16) == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"


class _Bounded:
    """What http.client needs of a socket: until an instant, and for so many bytes."""

    def __init__(self, connection: socket.socket, deadline_s: float, most: int) -> None:
        self._connection = connection
        self._end_s = time.monotonic() + deadline_s
        self._room = self._limit = most

    def close(self) -> None:
        """Leave it open: http.client closes what it sends by before it has read the reply."""

    def _in_time(self) -> socket.socket:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(left_s)
        return self._connection

    def sendall(self, data: bytes) -> None:
        """Send all bytes."""
        self._in_time().sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the replies as a file."""
        return _Replies(_Reply(self._receive), self._limit)

    def _receive(self, buffer: memoryview) -> int:
        try:
            count = self._in_time().recv_into(buffer)
        except TimeoutError:
            if self._room == self._limit:
                raise  # nothing came at all
            raise AdminIncompleteError("the reply took too long") from None
        self._room -= count
        if self._room < 0:
            raise AdminIncompleteError(f"the reply has more than {self._limit >> 20} MiB")
        return count


class _Replies(io.BufferedReader):
    """Room is made for what may come, and not for what a reply says that it has."""

    def __init__(self, reply: io.RawIOBase, most: int) -> None:
        super().__init__(reply)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._most + 1))


class _Reply(io.RawIOBase):
    def __init__(self, receive: Callable[[memoryview], int]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._receive(memoryview(buffer))


def request(
    connection: socket.socket,
    path: str,
    method: str = "GET",
    deadline_s: float = DEADLINE_S,
    most: int | None = None,
) -> tuple[int, str]:
    """Send one request over a connection, read the whole reply, close the connection.

    Args:
        connection: from `connect_admin`.
        path: path and query, `/ready`.
        method: `GET`, or `POST` for what changes Envoy.
        deadline_s: seconds for all of it.
        most: how many bytes a reply may have; None for REPLY_BYTES.

    Returns:
        Status and body.

    Raises:
        AdminIncompleteError: the reply has no end in time, or is too large.
        AdminUnreachableError: the reply did not come, or was cut off.
    """
    # It takes a while to import, and not everyone who is given this module asks.
    import http.client

    client = http.client.HTTPConnection("localhost")
    client.sock = _Bounded(connection, deadline_s, REPLY_BYTES if most is None else most)
    try:
        client.request(method, path, headers={"connection": "close"})
        reply = client.getresponse()
        return reply.status, reply.read().decode("utf-8", "replace")
    except AdminIncompleteError as error:
        raise AdminIncompleteError(f"{method} {path}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise AdminUnreachableError(f"{method} {path}: {shortened(str(error))}") from error
    finally:
        client.close()
        connection.close()
