"""What a map of sockets is made of: listener, kernel sockets, descriptors, epolls, threads.

All parts are frozen, and name each other by ids: `l0` a listener at one address, `s14` a kernel
socket by its order of birth, `d1234.22.0` a descriptor (process, number, generation), `e1234.5.0`
an epoll, `t1234` a thread. An id is the same in every picture of one trace.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from envoyassert.judge.verdict import Status


class Mark(enum.Enum):
    """What is particular about a listener, a kernel socket or a descriptor."""

    #: SO_REUSEPORT was set before bind: the kernel deals clients out to the sockets of the port.
    REUSE_PORT = "reuse_port"
    #: A copy of another descriptor, by dup(2) or fcntl(2).
    DUP = "dup"
    #: It came from another process, by a message (SCM_RIGHTS) or by fork.
    INHERITED = "inherited"
    #: Several threads wait on one descriptor, or several processes hold one socket.
    SHARED = "shared"
    #: It is not Envoy's, or no listener of the config has it.
    FOREIGN = "foreign"
    #: A listener without a socket, or a socket for clients on which no thread waits.
    LOST = "lost"
    #: It was closed before the end.
    CLOSED = "closed"
    #: Records were lost, or the kernel's account does not settle it: it may be otherwise.
    DOUBT = "doubt"
    #: A bind failed.
    FAILED = "failed"


#: What a `MapListener` is: of the config, of the admin endpoint, Envoy's own, or of no one known.
STATIC, LDS, ADMIN, HOT_RESTART, UNLISTED = "static", "lds", "admin", "hot_restart", "unlisted"


@dataclass(frozen=True)
class MapThread:
    """A thread that holds or serves something.

    Args:
        id: `t1234`.
        label: `main`, `worker_0`, or its name.
        role: `main`, `worker_0` or `other`.
        process: of which Envoy or process it is, "" where there is one process alone.
        ended: whether it had exited at the end.
    """

    id: str
    label: str
    role: str
    process: str = ""
    ended: bool = False


@dataclass(frozen=True)
class MapEpoll:
    """An epoll instance.

    Args:
        id: `e1234.5.0`.
        fd: its descriptor.
        threads: ids of the threads that wait on it.
    """

    id: str
    fd: int
    threads: tuple[str, ...]


@dataclass(frozen=True)
class MapDescriptor:
    """A descriptor of a kernel socket.

    Args:
        id: `d1234.22.0`.
        fd: its number; None in a picture of what is expected.
        origin: `socket`, `dup`, `fcntl`, `scm_rights`, `fork`, `accept`, `socketpair`, `unknown`.
        copy_of: id of the descriptor that it was copied from, or None.
        copy_of_fd: the number of that one.
        process: whose it is, "" where there is one process alone.
        open: whether it was open at the end.
        epolls: ids of the epolls that it is in.
        threads: ids of the threads that it wakes at the end when a client comes.
        marks: what is particular about it.
        exclusive: whether a client wakes one or more of those that wait so, and not all of them
            (EPOLLEXCLUSIVE, epoll_ctl(2)).
    """

    id: str
    fd: int | None
    origin: str = "socket"
    copy_of: str | None = None
    copy_of_fd: int | None = None
    process: str = ""
    open: bool = True
    epolls: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    marks: frozenset[Mark] = frozenset()
    exclusive: bool = False


@dataclass(frozen=True)
class MapOption:
    """An option that was set.

    Args:
        name: `SO_REUSEPORT`, or level/number.
        value: as text.
        phase: `before_bind`, `bound` or `listening`.
    """

    name: str
    value: str
    phase: str


@dataclass(frozen=True)
class MapSocket:
    """A kernel socket.

    Args:
        id: `s14`.
        number: order of birth; None for one that was not seen to be made.
        protocol: `TCP`, `UDP`, `UNIX` …
        address: where it is bound.
        state: `LISTEN`, `BOUND` (a datagram socket, or one that does not listen) or `CLOSED`.
        backlog: what listen() asked for; None if it did not listen.
        queue: connections that waited to be accepted when the kernel was asked last; None: unknown.
        somaxconn: the limit of its backlog in its network namespace; None if unknown.
        options: those that were set, in order.
        made_by, bound_by, listened_by: labels of threads.
        descriptors: all it had; closed ones too.
        connections: how many were accepted on it.
        owner: who has it, if it is not one of the processes of the trace.
        marks: what is particular about it.
    """

    id: str
    number: int | None
    protocol: str
    address: str
    state: str
    backlog: int | None = None
    queue: int | None = None
    somaxconn: int | None = None
    options: tuple[MapOption, ...] = ()
    made_by: tuple[str, ...] = ()
    bound_by: tuple[str, ...] = ()
    listened_by: tuple[str, ...] = ()
    descriptors: tuple[MapDescriptor, ...] = ()
    connections: int = 0
    owner: str = ""
    marks: frozenset[Mark] = frozenset()

    @property
    def serves(self) -> bool:
        """Whether clients could reach it at the end."""
        return self.state != "CLOSED" and Mark.FOREIGN not in self.marks

    @property
    def threads(self) -> tuple[str, ...]:
        """Ids of the threads that serve it, each once."""
        return tuple(dict.fromkeys(one for d in self.descriptors for one in d.threads))


@dataclass(frozen=True)
class MapListener:
    """A listener at one of its addresses, with its sockets.

    Args:
        id: `l0`.
        name: as the config has it, or "".
        kind: `static`, `lds`, `admin`, `hot_restart` (Envoy's own sockets) or `unlisted`.
        protocol: `TCP`, `UDP` or `UNIX`.
        address: as configured, with the port that the kernel chose; that of its sockets, where the
            config does not say; "" for Envoy's own.
        way: `reuse_port`, `dup`, `shared_fd`, `single`, or "" where it is served by none of them.
        sockets: its kernel sockets in order of birth, foreign ones last.
        failed: binds that failed, as strace prints them.
        workers: how many workers there are.
        status: of the findings about it the worst; None without a verdict about it.
        findings: the paths of these findings.
        marks: what is particular about it.
    """

    id: str
    name: str
    kind: str
    protocol: str
    address: str
    way: str = ""
    sockets: tuple[MapSocket, ...] = ()
    failed: tuple[str, ...] = ()
    workers: int = 0
    status: Status | None = None
    findings: tuple[tuple[str | int, ...], ...] = ()
    marks: frozenset[Mark] = frozenset()

    @property
    def serving(self) -> tuple[MapSocket, ...]:
        """The kernel sockets that clients could reach at the end."""
        return tuple(socket for socket in self.sockets if socket.serves)


@dataclass(frozen=True)
class SocketMap:
    """All of it.

    Args:
        listeners: those of the config in its order, then the rest.
        threads, epolls: all that these name, by their ids.
        when: of which moment it is: `at the end`, `at the end of drain`.
    """

    listeners: tuple[MapListener, ...]
    threads: dict[str, MapThread]
    epolls: dict[str, MapEpoll]
    when: str = "at the end"
