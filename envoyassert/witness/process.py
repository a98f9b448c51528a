"""Ask the kernel itself about a process's sockets and epolls, independently of the probe.

Descriptors come from /proc/<pid>/fd. Each socket is duplicated into this process for a moment
(pidfd_getfd(2)) and asked by getsockopt(2) and getsockname(2); registrations come from
/proc/<pid>/fdinfo of each epoll (proc(5), fields `tfd`, `events` and `ino`). All of it works from
outside the process's namespaces, containers included. Needs root, as ptrace(2) would.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from envoyassert.accounts import SocketKind, WitnessRegistration, WitnessSocket
from envoyassert.addresses import Address
from envoyassert.launch.kernel import pidfd_getfd
from envoyassert.names import FAMILIES, SOCKET_TYPES
from envoyassert.option_read_back import Option, question
from envoyassert.option_values import OptionValue, option_value_of
from envoyassert.witness.network import netns_cookie

# asm-generic/socket.h; absent from Python's socket module in some versions.
_SO_COOKIE = 57
_SO_REUSEPORT = 15
_SO_ACCEPTCONN = 30
_SO_DOMAIN = 39
_SO_PROTOCOL = 38
#: linux/tcp.h, struct tcp_info: where the state and the numbers of segments stand.
_TCP_INFO_LENGTH, _SEGMENTS_AT, _TCP_CLOSE = 144, 136, 7
_FAMILIES = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
_SECCOMP_FILTER = "\nSeccomp:\t2\n"
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")
_EPOLL_LINK = "anon_inode:[eventpoll]"
_TARGET = re.compile(r"^tfd:\s*(\d+) events:\s*([0-9a-f]+).*? ino:\s*([0-9a-f]+)", re.MULTILINE)


#: Options by level and name, with how each is asked for.
Questions = Mapping[str, tuple[int, int, int]]
#: Returns the options of a new socket of a family, type and protocol.
NewOptions = Callable[[SocketKind], Mapping[str, OptionValue]]


def questions_of(options: Iterable[Option]) -> Questions:
    """Return how to ask for options, those left out whose answer is not known to mean much."""
    return {
        f"{level}/{name}": how
        for level, name in options
        if (how := question(level, name)) is not None
    }


def ask_process(
    pid: int,
    namespaces: Mapping[int, str] | None = None,
    options: Iterable[Option] = (),
    new_options: NewOptions | None = None,
) -> tuple[tuple[WitnessSocket, ...], tuple[WitnessRegistration, ...], str]:
    """Return what the kernel says about a process right now.

    Args:
        pid: the process, as seen from here.
        namespaces: names of network namespaces by their cookies, if there are several.
        options: the options of which the values are asked for, of sockets for clients.
        new_options: asks for those of a new socket; None to leave out how sockets were made.

    Returns:
        Its sockets of the families AF_INET, AF_INET6 and AF_UNIX, its epoll registrations, and
        what kept the account from being whole, or "".
    """
    questions = questions_of(options)
    read: dict[int, dict[str, OptionValue]] = {}
    sockets: list[WitnessSocket] = []
    registrations: list[WitnessRegistration] = []
    error = ""
    try:
        pidfd = os.pidfd_open(pid)
        try:
            for fd, link in _descriptors(pid):
                found = _SOCKET_LINK.fullmatch(link)
                if found:
                    asked = _Asked(int(found[1]), namespaces or {}, questions, read, new_options)
                    witnessed = _ask_socket(pidfd, pid, fd, asked)
                    if witnessed:
                        sockets.append(witnessed)
                elif link == _EPOLL_LINK:
                    registrations += _registrations(pid, fd)
        finally:
            os.close(pidfd)
    except (FileNotFoundError, ProcessLookupError):
        error = f"process {pid} has ended"
    except OSError as refused:
        error = f"process {pid} cannot be looked at: {refused.strerror or refused}"
    return tuple(sockets), tuple(registrations), error


def is_filtered(pid: int) -> bool:
    """Return whether a thread of a process has a seccomp filter (proc(5), `Seccomp:`)."""
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            if _SECCOMP_FILTER in status.read_text("utf-8", "replace"):
                return True
    return False


def _descriptors(pid: int) -> list[tuple[int, str]]:
    """Return (number, what it links to) of each open descriptor, in order of numbers."""
    directory = Path(f"/proc/{pid}/fd")
    found = []
    names = os.listdir(directory)  # noqa: PTH208 - names alone, of what may vanish any time
    if not names and not Path(f"/proc/{pid}/exe").exists():
        # A zombie has an empty directory where a living process has descriptors.
        raise ProcessLookupError(pid)
    for name in names:
        # Missing: closed since the directory was read.
        with contextlib.suppress(FileNotFoundError):
            found.append((int(name), os.readlink(directory / name)))  # noqa: PTH115 - text
    return sorted(found)


class _Asked(NamedTuple):
    """What is asked about one descriptor.

    Args:
        inode: the inode that it had in the directory.
        namespaces: names of network namespaces by their cookies.
        questions: how to ask for each option.
        read: what was read of the options of each socket so far, by inode; is added to.
        new_options: as of `ask_process`.
    """

    inode: int
    namespaces: Mapping[int, str]
    questions: Questions
    read: dict[int, dict[str, OptionValue]]
    new_options: NewOptions | None


def _ask_socket(pidfd: int, pid: int, fd: int, asked: _Asked) -> WitnessSocket | None:
    """Return one socket's state; None if it is of another family, or no longer there."""
    try:
        duplicate = pidfd_getfd(pidfd, fd)
    except OSError as error:
        if error.errno == errno.EBADF:  # closed since the directory was read
            return None
        raise
    try:
        borrowed = socket.socket(fileno=duplicate)  # detects the family
    except BaseException:
        os.close(duplicate)
        raise
    # Closing a duplicate does not shut the connection down.
    with borrowed:
        if os.fstat(duplicate).st_ino != asked.inode:
            return None  # the number was reused since
        if borrowed.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN) not in _FAMILIES:
            return None
        listening = _flag(borrowed, _SO_ACCEPTCONN)
        accepts = listening or borrowed.type == socket.SOCK_DGRAM
        options = _options(borrowed, asked) if accepts else None
        return WitnessSocket(
            pid=pid,
            fd=fd,
            inode=asked.inode,
            cookie=_cookie(borrowed),
            address=_placed(borrowed, asked.namespaces),
            reuse_port=_flag(borrowed, _SO_REUSEPORT),
            listening=listening,
            options=options,
            kind=_kind(borrowed, bool(listening), options, asked.new_options),
        )


def _kind(
    borrowed: socket.socket,
    listening: bool,
    options: Mapping[str, OptionValue] | None,
    new_options: NewOptions | None,
) -> SocketKind | None:
    """Return how a socket was made, None if that is not asked."""
    if new_options is None:
        return None
    domain, made, protocol = (
        borrowed.getsockopt(socket.SOL_SOCKET, option)
        for option in (_SO_DOMAIN, socket.SO_TYPE, _SO_PROTOCOL)
    )
    kind = SocketKind(
        FAMILIES.get(domain, domain),
        SOCKET_TYPES.get(made, made),
        protocol,
        connected=not listening and _is_connected(borrowed, protocol),
    )
    if kind.connected or options is None:
        return kind
    usual = new_options(kind)
    unlike = tuple(key for key, value in options.items() if key in usual and usual[key] != value)
    return replace(kind, unlike_new=unlike)


def _is_connected(borrowed: socket.socket, protocol: int) -> bool:
    """Whether a socket that does not listen has a peer, or a connection that failed or ended."""
    with contextlib.suppress(OSError):
        borrowed.getpeername()
        return True
    if borrowed.type != socket.SOCK_STREAM or protocol != socket.IPPROTO_TCP:
        return False
    info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_LENGTH)
    # On an older kernel the answer is shorter; its state is known anyway.
    segments = info[_SEGMENTS_AT:_TCP_INFO_LENGTH]
    return info[0] != _TCP_CLOSE or any(segments)


def options_of_new(kind: SocketKind, questions: Questions) -> dict[str, OptionValue]:
    """Return the options that a new socket has in the calling thread's network namespace.

    Raises:
        OSError: there are no such sockets here.
    """
    families = {name: number for number, name in FAMILIES.items()}
    types = {name: number for number, name in SOCKET_TYPES.items()}
    with socket.socket(families[str(kind.family)], types[str(kind.type)], kind.protocol) as new:
        return _read(new, questions)


def _options(borrowed: socket.socket, asked: _Asked) -> dict[str, OptionValue]:
    """Return the options of a socket, each asked for once."""
    known = asked.read.get(asked.inode)
    if known is None:
        known = asked.read[asked.inode] = _read(borrowed, asked.questions)
    return known


def _read(borrowed: socket.socket, questions: Questions) -> dict[str, OptionValue]:
    known: dict[str, OptionValue] = {}
    for key, (level, number, length) in questions.items():
        # Of another protocol, or not known to this kernel.
        with contextlib.suppress(OSError):
            if length:
                name = key.partition("/")[2]
                known[key] = option_value_of(name, borrowed.getsockopt(level, number, length))
            else:
                known[key] = borrowed.getsockopt(level, number)
    return known


def _cookie(borrowed: socket.socket) -> int | None:
    try:
        value = borrowed.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
    except OSError:
        return None
    return int(struct.unpack("=Q", value)[0])


def _flag(borrowed: socket.socket, option: int) -> bool | None:
    try:
        return bool(borrowed.getsockopt(socket.SOL_SOCKET, option))
    except OSError:
        return None


def _address(borrowed: socket.socket) -> Address | None:
    """Return the local address; None if the socket is not bound."""
    name = borrowed.getsockname()
    if borrowed.family in (socket.AF_INET, socket.AF_INET6):
        host, port = name[0].partition("%")[0], name[1]
        return Address.inet(host, port) if port else None
    if not name:
        return None
    if isinstance(name, bytes):
        return Address("AF_UNIX", abstract=os.fsdecode(name[1:]))
    return Address("AF_UNIX", path=name)


def _placed(borrowed: socket.socket, namespaces: Mapping[int, str]) -> Address | None:
    """Return the local address in its network namespace, as far as these are distinguished."""
    address = _address(borrowed)
    if address is None or not namespaces:
        return address
    cookie = netns_cookie(borrowed)
    return address.within(namespaces.get(cookie, f"the network namespace with cookie {cookie}"))


def _registrations(pid: int, epfd: int) -> list[WitnessRegistration]:
    try:
        text = Path(f"/proc/{pid}/fdinfo/{epfd}").read_text(encoding="ascii")
    except FileNotFoundError:
        return []  # closed since
    return [
        WitnessRegistration(pid, epfd, int(target), int(inode, 16), int(mask, 16))
        for target, mask, inode in _TARGET.findall(text)
    ]
