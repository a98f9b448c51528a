"""One client of a listener: a connection that is tried once, and recorded as it went."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.clock import monotonic_ns
from envoyassert.launch.inside import connect_inside
from envoyassert.steps.base import StepProblem
from envoyassert.trace import ConnectionAttempt

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, never bound
#: What connect() fails with because of the client's side: it says nothing about Envoy. The last
#: three are of finding the file of a Unix socket (envoyassert.launch.inside).
_OWN_FAULTS = frozenset(
    {
        *("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "EACCES", "EPERM"),
        *("ENAMETOOLONG", "ELOOP", "ENOSYS"),
    }
)
_CHUNK = 65536
#: udp(7): how long each datagram is that the kernel makes of what is sent at once.
_UDP_SEGMENT = 103
#: IPPROTO_MPTCP of linux/in.h; absent from Python's socket module in some versions.
_MPTCP = 262


class Client(contextlib.AbstractContextManager["Client"]):
    """One connection; leaving it closes it.

    Args:
        protocol: `TCP`, `MPTCP`, `UDP` or `UNIX`.
        address: where to; a wildcard is reached by loopback.
        root: the root directory of paths of Unix sockets, `/proc/<pid>/root`.
    """

    def __init__(self, protocol: str, address: Address, root: str) -> None:
        self._protocol = protocol
        self._address = address
        self._root = root
        self._socket: socket.socket | None = None
        self.last = ConnectionAttempt(protocol, address, False)

    def attempt(
        self,
        in_netns: Callable[[Callable[[], socket.socket], str], socket.socket],
        send: str | None,
        end_s: float,
    ) -> ConnectionAttempt:
        """Connect, and send a text if there is one; return how it went.

        Args:
            in_netns: runs a call inside Envoy's network namespace, or another one by its file.
            send: what to send, None for nothing.
            end_s: until when it may take, by time.monotonic().

        Raises:
            StepProblem: it could not be tried at all.
        """
        began_ns = monotonic_ns()
        last = ConnectionAttempt(self._protocol, self._address, False, began_ns=began_ns)
        try:
            # Sockets belong to the namespace of the thread that makes them.
            self._socket = in_netns(self._made, self._address.netns)
        except ProcessLookupError:
            # A container that has ended has taken its network along: nothing can be reached there.
            self.last = replace(last, errno="ESRCH", ended_ns=monotonic_ns())
            return self.last
        except OSError as error:
            netns = self._address.netns
            place = f" in the network namespace {netns}" if netns else ""
            raise StepProblem(f"no client can be made{place}: {error.strerror or error}") from error
        try:
            self._socket.settimeout(max(0.001, end_s - time.monotonic()))
            self._connect(self._socket)
            last = replace(last, ok=True, end="held", local=self._local(self._socket))
        except OSError as error:
            name = _name_of(error)
            if name in _OWN_FAULTS or not name:
                raise StepProblem(f"a client cannot connect: {error.strerror or error}") from error
            last = replace(last, errno=name)
        self.last = replace(last, ended_ns=monotonic_ns())
        return self.last if send is None or not last.ok else self._talked(send, end_s)

    def talk(self, send: str, end_s: float, batch: int = 1) -> ConnectionAttempt:
        """Send a text over the connection that is there, and wait for the answer; as `attempt`.

        What was not read of earlier answers is set aside first, so that none of it is taken for
        the answer.

        Args:
            send: what to send.
            end_s: until when it may take, by time.monotonic().
            batch: how many datagrams of this text to send in one call, by the kernel's
                segmentation offload; all of them are to be answered.

        Raises:
            StepProblem: a batch cannot be sent.
        """
        if batch > 1:
            self._cut_into(len(os.fsencode(send)))
        self.last = replace(
            self.last, began_ns=monotonic_ns(), first_byte=False, errno="", end="held"
        )
        try:
            self._set_aside()
            self.last = replace(self.last, end="eof", ended_ns=monotonic_ns())
        except BlockingIOError:
            return self._talked(send, end_s, batch)
        except OSError as error:
            self.last = replace(self.last, errno=_name_of(error), end="reset")
        return self.last

    def _cut_into(self, length: int) -> None:
        """Let the kernel make datagrams of so many bytes of what is sent at once."""
        assert self._socket is not None
        if self._protocol != "UDP":
            raise StepProblem(f"a batch is sent over UDP, not over {self._protocol}")
        try:
            self._socket.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, length)
        except OSError as error:
            raise StepProblem(f"UDP_SEGMENT: {error.strerror or error}") from error

    def _set_aside(self) -> None:
        """Read all that came. Raises BlockingIOError if the connection is still open."""
        assert self._socket is not None
        self._socket.settimeout(0)
        while self._socket.recv(_CHUNK):
            pass

    def _talked(self, send: str, end_s: float, batch: int = 1) -> ConnectionAttempt:
        """Send text, and wait for the first byte of an answer, or of each to a batch."""
        assert self._socket is not None
        last = self.last
        try:
            self._socket.settimeout(max(0.001, end_s - time.monotonic()))
            self._socket.sendall(os.fsencode(send) * batch)
            answered = all(self._socket.recv(1) for _ in range(batch))
            last = replace(last, first_byte=True) if answered else replace(last, end="eof")
        except TimeoutError:
            last = replace(last, errno="ETIMEDOUT")
        except OSError as error:
            name = _name_of(error)
            if name == "ECONNREFUSED":  # a datagram that no socket took: ICMP port unreachable
                last = replace(last, ok=False, errno=name, end="")
            else:
                last = replace(last, errno=name, end="reset")
        self.last = replace(last, ended_ns=monotonic_ns())
        return self.last

    def _made(self) -> socket.socket:
        kind = socket.SOCK_DGRAM if self._protocol == "UDP" else socket.SOCK_STREAM
        if not self._address.is_ip:
            return socket.socket(socket.AF_UNIX, kind)
        protocol = _MPTCP if self._protocol == "MPTCP" else 0
        if self._address.family == "AF_INET":
            return socket.socket(socket.AF_INET, kind, protocol)
        made = socket.socket(socket.AF_INET6, kind, protocol)
        # Whatever net.ipv6.bindv6only says: a v4-mapped address is asked for over IPv4.
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return made

    def _connect(self, made: socket.socket) -> None:
        address = self._address
        if address.is_ip:
            made.connect((_WILDCARDS.get(address.host, address.target), address.port or 0))
        elif address.abstract is not None:
            made.connect(f"\0{address.abstract}")
        else:
            connect_inside(made, self._root, address.path or "")

    def _local(self, made: socket.socket) -> Address | None:
        if not self._address.is_ip:
            return None
        host, port = made.getsockname()[:2]
        return Address.inet(host, port)

    def close(self) -> ConnectionAttempt:
        """Close the connection, and return how it went; may be repeated."""
        if self._socket is not None:
            # Closing before all is read would make the kernel reset the connection.
            with contextlib.suppress(OSError):
                self._set_aside()
            self._socket.close()
            if self.last.end == "held":
                self.last = replace(self.last, end="closed")
        return self.last

    def __exit__(self, *exception: object) -> None:
        self.close()


def _name_of(error: OSError) -> str:
    """Return the name of an error of the kernel, "" for one that is not the kernel's."""
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, "")
