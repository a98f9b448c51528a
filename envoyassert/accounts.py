"""What the kernel and Envoy themselves say at one instant, independent of the probe.

The kernel is asked about the process (its descriptors and epolls) and about its network namespace
(sock_diag(7)); Envoy is asked by its admin endpoint. A trace carries what they said; comparing it
with what the events say is the judge's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.frozen import brief_repr, frozen
from envoyassert.option_values import OptionValue
from envoyassert.ranges import I32, I64, U32, U64, ListenerProtocol, Name, Natural, Pid


@frozen
class SocketKind:
    """What getsockopt(2) says of a socket's making, asked where its birth was not seen.

    Args:
        family: SO_DOMAIN.
        type: SO_TYPE.
        protocol: SO_PROTOCOL.
        connected: whether it has a peer, or had or sought one: then its address says little.
        unlike_new: the options of which a new socket of this kind has another value, by level and
            name; () where no socket is for clients.
    """

    family: Name
    type: Name
    protocol: I32
    connected: bool = False
    unlike_new: tuple[str, ...] = ()


@frozen
class WitnessSocket:
    """One descriptor of a socket as the kernel showed it.

    Args:
        pid: process.
        fd: descriptor.
        inode: the socket's inode.
        cookie: SO_COOKIE, or None if it could not be read.
        address: local address, or None if unbound.
        reuse_port: SO_REUSEPORT, or None if it could not be read.
        listening: SO_ACCEPTCONN, or None if it could not be read.
        options: the values of options that it was asked for, by level and name
            (`SOL_SOCKET/SO_KEEPALIVE`), those without an answer left out; None if it was asked
            for none, as of a connection.
        kind: how it was made; None if that was not asked.
    """

    pid: Pid
    fd: I32
    inode: U64
    cookie: U64 | None = None
    address: Address | None = None
    reuse_port: bool | None = None
    listening: bool | None = None
    options: Mapping[str, OptionValue] | None = None
    kind: SocketKind | None = None


@frozen
class WitnessThread:
    """One thread, and where it was seen to wait.

    Args:
        pid, tid: its process and itself.
        name: its name.
        epfd: the descriptor of the epoll that it waits on; None if it was seen in no such wait.
    """

    pid: Pid
    tid: Pid
    name: str
    epfd: I32 | None = None


@frozen
class WitnessProcess:
    """One process that was looked at.

    Args:
        pid: as seen from here.
        parent: the one that it is a child of, if that was looked at too; else None.
        filename: its executable, as it sees it.
        argv: its arguments.
        inner_pid: its number in its own pid namespace.
    """

    pid: Pid
    parent: Pid | None
    filename: str
    argv: tuple[str, ...] = ()
    inner_pid: Pid = 0


@frozen
class OtherHolder:
    """A process that has a socket too, and was not looked at.

    Args:
        inode: the socket's.
        pid, name: the process.
    """

    inode: U64
    pid: Pid
    name: str


@frozen
class WitnessRegistration:
    """One line of an epoll's fdinfo: descriptor `fd` is registered in epoll `epfd`.

    Args:
        pid, epfd: the process and its descriptor of the epoll.
        fd, inode: the descriptor as it was when it was registered, and its inode.
        mask: the events asked for as a number, EPOLLERR and EPOLLHUP always among them; None in a
            trace that did not note it.
    """

    pid: Pid
    epfd: I32
    fd: I32
    inode: U64
    mask: U32 | None = None


@frozen
class NetworkSocket:
    """A socket of the network namespace for clients, whoever holds it.

    Args:
        protocol: `TCP`, `UDP` or `UNIX`.
        address: local address, or None if it has none.
        inode: its inode.
        cookie: its cookie (SO_COOKIE), or None if it has none.
        queue: connections that wait to be accepted; None where nothing listens (UDP).
        backlog: how many may wait, as the kernel took it from listen(); None for UDP.
        device: the device that it is bound to, "" for none.
        v6only: IPV6_V6ONLY of a socket of IPv6, or None if it is not known.
    """

    protocol: ListenerProtocol
    address: Address | None
    inode: U64
    cookie: U64 | None = None
    queue: Natural | None = None
    backlog: Natural | None = None
    device: str = ""
    v6only: bool | None = None


@frozen
class Network:
    """The listening sockets and bound UDP sockets of Envoy's network namespaces.

    Args:
        sockets: all of them, in no order.
        somaxconn: the namespace's limit of a backlog (net.core.somaxconn), or None if unknown.
        error: why it could not be asked, or "".
        others: the limit of each further network namespace that was asked, by the file that it was
            entered by; its sockets have it in their addresses.
    """

    sockets: tuple[NetworkSocket, ...] = ()
    somaxconn: Natural | None = None
    error: str = ""
    others: Mapping[str, Natural | None] = field(default_factory=dict)

    __repr__ = brief_repr

    def knows(self, netns: str) -> bool:
        """Whether a namespace was asked, by the file that it was entered by; "" for Envoy's own."""
        return not self.error and (not netns or netns in self.others)

    def limit_of(self, netns: str) -> int | None:
        """Return net.core.somaxconn of a namespace, None if it is not known."""
        return self.others.get(netns) if netns else self.somaxconn


@frozen
class EnvoyListener:
    """An active listener as Envoy lists it: name, and the addresses that it says it is at."""

    name: str
    addresses: tuple[Address, ...] = ()


@frozen
class EnvoyAccount:
    """What Envoy says of itself by its admin endpoint.

    Args:
        begun_ns: CLOCK_MONOTONIC nanoseconds before the first question.
        ts_ns: the same clock after the last answer.
        listeners: its active listeners (`/listeners`), asked before the statistics.
        stats: gauges by their names: `listener_manager.total_listeners_draining`; those that the
            config's stats_matcher leaves out are missing.
        error: why it could not be asked, or "".
    """

    begun_ns: Natural
    ts_ns: Natural
    listeners: tuple[EnvoyListener, ...] = ()
    stats: dict[str, U64] = field(default_factory=dict)
    error: str = ""

    __repr__ = brief_repr


@frozen
class Witness:
    """The kernel's own account and Envoy's, taken one after the other.

    Args:
        ts_ns: CLOCK_MONOTONIC nanoseconds after the kernel's account was taken.
        sockets: all socket descriptors of the process.
        registrations: all epoll registrations.
        error: why it could not be taken, or "".
        begun_ns: the same clock before it was taken; None in a trace that did not note it.
        pid: the process that was looked at; 0 in a trace that did not note it.
        pids: all that were looked at: it and the processes below it; () in a trace that did not
            note them.
        limits: sysctls that bound the values of options, by their names (`net.core.rmem_max`).
        filtered: whether a thread of the process has a seccomp filter, whoever set it.
        network: what the network namespace holds; None if it was not asked.
        envoy: what Envoy says; None if it was not asked.
        processes, threads: those that were looked at; () where their start was seen instead.
        holders: who else has one of the sockets; () likewise.
    """

    ts_ns: Natural
    sockets: tuple[WitnessSocket, ...] = ()
    registrations: tuple[WitnessRegistration, ...] = ()
    error: str = ""
    begun_ns: Natural | None = None
    pid: Pid = 0
    network: Network | None = None
    envoy: EnvoyAccount | None = None
    pids: tuple[Pid, ...] = ()
    limits: Mapping[str, I64] = field(default_factory=dict)
    filtered: bool = False
    processes: tuple[WitnessProcess, ...] = ()
    threads: tuple[WitnessThread, ...] = ()
    holders: tuple[OtherHolder, ...] = ()

    __repr__ = brief_repr

    @property
    def envoy_answer(self) -> EnvoyAccount | None:
        """What Envoy says, with its list of listeners; None if it was not asked, or gave no answer.

        A list that could not be had is no evidence of anything, an empty one is.
        """
        return None if self.envoy is None or self.envoy.error else self.envoy


@dataclass
class SecondWitness:
    """What another tracer recorded of the same run.

    Args:
        by: which one, `strace`.
        until_ns: CLOCK_MONOTONIC nanoseconds before the probe's records were read; what returned
            later may be missing there.
        problems: what could not be understood of its record, in words.
        events: what it recorded, in the form of our own events.
    """

    by: str
    until_ns: Natural
    problems: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)

    __repr__ = brief_repr
