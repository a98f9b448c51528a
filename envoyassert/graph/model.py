"""The socket graph: kernel sockets, descriptors, epoll instances, threads and processes.

Identity is birth, never a number: a descriptor is (process, number, generation), a kernel socket
is the call that made it, carried through dup, fork and SCM_RIGHTS. `certain` on a fact is False
where events were lost while the descriptor it came through was open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from envoyassert.accounts import Witness
from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.frozen import brief_repr, frozen
from envoyassert.graph.passes import Pass
from envoyassert.names import IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP
from envoyassert.option_values import OptionValue
from envoyassert.trace import Phase

#: Names by type and protocol, where 0 is the default of the type (ip(7)).
_PROTOCOLS = {
    ("SOCK_STREAM", 0): "TCP",
    ("SOCK_STREAM", IPPROTO_TCP): "TCP",
    ("SOCK_STREAM", IPPROTO_MPTCP): "MPTCP",
    ("SOCK_DGRAM", 0): "UDP",
    ("SOCK_DGRAM", IPPROTO_UDP): "UDP",
}
T = TypeVar("T")
#: What most sockets have none of: () until there is the first, then a list (`more`).
Few: TypeAlias = "list[T] | tuple[T, ...]"


def more(known: Few[T], one: T) -> list[T]:
    """Return the list of what is known and one more; it is changed in place if there is one."""
    if isinstance(known, list):
        known.append(one)
        return known
    return [*known, one]


_WORKER = re.compile(r"wrk:worker_(\d+)$")


@dataclass(eq=False, slots=True)
class Thread:
    """One thread.

    Args:
        tid: thread id.
        pid: its process.
        names: (time in ns, name), oldest first; the last one counts.
        created_ns: when it was created, None if that was not seen.
        exited_ns: when it ended, None if it did not.
        of_envoy: whether its process is an Envoy (`envoys`); set at the end of the fold.
    """

    tid: int
    pid: int
    names: list[tuple[int, str]] = field(default_factory=list)
    created_ns: int | None = None
    exited_ns: int | None = None
    of_envoy: bool = True

    __repr__ = brief_repr

    @property
    def name(self) -> str:
        """Its last name; threads are named by their creator, after their birth."""
        return self.names[-1][1] if self.names else ""

    @property
    def role(self) -> str:
        """`main`, `worker_<i>` or `other`: what it is in an Envoy."""
        if not self.of_envoy:
            return "other"
        if self.tid == self.pid:
            return "main"
        found = _WORKER.match(self.name)
        return f"worker_{int(found[1])}" if found else "other"

    @property
    def is_named_worker(self) -> bool:
        """Whether it has the name of a worker."""
        return _WORKER.match(self.name) is not None


@dataclass(eq=False, slots=True)
class Process:
    """One process that carries the run's mark.

    Args:
        pid: process id.
        parent: pid of the process that forked it, None if it was marked at its exec.
        filename: executable of its last exec, "" if it never called exec.
        argv: arguments of its last exec.
        exited_ns: when its last thread ended, None if it did not.
        status: exit status if it was seen.
        signal: last signal with the default action that was delivered to it.
        executed: whether it runs a program of its own, not a copy of its parent.
    """

    pid: int
    parent: int | None = None
    filename: str = ""
    argv: tuple[str, ...] = ()
    exited_ns: int | None = None
    status: int | None = None
    signal: int | None = None
    executed: bool = True

    __repr__ = brief_repr


@dataclass(eq=False, slots=True)
class Call:
    """A system call on a socket: the event, and what the fold knows of it."""

    event: Event
    thread: Thread
    descriptor: Descriptor | None
    certain: bool

    __repr__ = brief_repr


@dataclass(eq=False, slots=True)
class OptionSet:
    """One setsockopt on a socket; `phase` is before_bind, bound or listening."""

    level: str | int
    name: str | int
    value: OptionValue
    phase: str
    call: Call

    __repr__ = brief_repr


@dataclass(eq=False, slots=True)
class Descriptor:
    """One descriptor of a kernel socket.

    Args:
        pid: process that holds it.
        fd: its number.
        generation: how many descriptors had this number in this process before.
        socket: what it refers to.
        origin: socket, dup, fcntl, scm_rights, accept, fork, socketpair or unknown.
        opened: the event that made it.
        source: the descriptor that it was copied from (dup, fcntl, fork).
        closed_ns: when it was closed, None if it is open.
        tainted_ns: since when events that could have closed or changed it may be missing.
        registrations: in which epoll instances it is or was.
    """

    pid: int
    fd: int
    generation: int
    socket: KernelSocket
    origin: str
    opened: Event
    source: Descriptor | None = None
    closed_ns: int | None = None
    tainted_ns: int | None = None
    registrations: Few[Registration] = ()

    __repr__ = brief_repr

    @property
    def is_open(self) -> bool:
        """Whether it was open at the end."""
        return self.closed_ns is None


@dataclass(eq=False, slots=True)
class KernelSocket:
    """One socket of the kernel, however many descriptors refer to it.

    Args:
        number: order of birth, from 0.
        family, type, protocol: as asked of socket(2); type without flags.
        nonblock: whether SOCK_NONBLOCK was asked for.
        origin: socket, socketpair, scm_rights (sender not seen), accept or unknown.
        born: the event that made it known.
        calls: every call on it, in time order.
        options: its setsockopt calls that succeeded.
        binds: its bind calls that succeeded.
        failed_binds: its bind calls that failed.
        listens: its listen calls that succeeded.
        address: address of the successful bind, with the learned port if 0 was asked for.
        requested: address as passed to bind.
        descriptors: all there ever were.
        kernel_address: the kernel's own pointer of it (TCP, once it listened), hex.
        accepted_from: the listening socket it was accepted on.
        closed_ns: when its last descriptor was closed.
        stopped_ns: when shutdown(2) ended its listening, None if nothing did.
        netns: the network namespace that it is in, by the file by which its maker entered it; ""
            for the one in which Envoy began.
        is_probe: whether it only asked what the kernel supports; set at the end of the fold.
        is_hot_restart: whether it is one of Envoy's own for hot restart; set there too.
        is_client: whether it is bound and takes the datagrams of one peer alone; set there too.
        passes: the messages that handed it to another process.
        peer: whom it is connected to; a datagram socket then takes nothing from anybody else.
        file: where the file of its Unix address is; None if it has none, or no more.
        file_event: the call that moved its file or took it away last, None if none did.
        file_change: what that call did, in words.
        file_doubt: a call that may have been on its file.
        holding: how many descriptors were open as far as the events were folded: to look at all for
            each close is quadratic.
        handed_over_ns: when a process that is looked at alone got it, bound by another one.
    """

    number: int
    family: str
    type: str
    protocol: int
    nonblock: bool
    origin: str
    born: Event
    calls: list[Call] = field(default_factory=list)
    options: Few[OptionSet] = ()
    binds: Few[Call] = ()
    failed_binds: Few[Call] = ()
    listens: Few[Call] = ()
    address: Address | None = None
    requested: Address | None = None
    descriptors: list[Descriptor] = field(default_factory=list)
    kernel_address: str | None = None
    accepted_from: KernelSocket | None = None
    closed_ns: int | None = None
    stopped_ns: int | None = None
    netns: str = ""
    is_probe: bool = False
    is_hot_restart: bool = False
    is_client: bool = False
    passes: Few[Pass] = ()
    peer: Address | None = None
    file: str | None = None
    file_event: Event | None = None
    file_change: str = ""
    file_doubt: Event | None = None
    handed_over_ns: int | None = None
    holding: int = 0

    __repr__ = brief_repr

    @property
    def is_open_to_clients(self) -> bool:
        """Whether connections or datagrams could still come in at the end."""
        if not self.is_live or self.stopped_ns is not None:
            return False
        return bool(self.listens) or (self.type == "SOCK_DGRAM" and self.peer is None)

    @property
    def places(self) -> set[Address]:
        """Every address that it was bound to, or failed to be bound to."""
        failed = {self.asked_for(call) for call in self.failed_binds}
        return {place for place in (self.address, self.requested, *failed) if place is not None}

    def placed(self, address: Address) -> Address:
        """Return an address that a call on this socket carried as one of its namespace."""
        return address.within(self.netns)

    def asked_for(self, bind: Call) -> Address | None:
        """Return what a bind of this socket asked for, None if it could not be read."""
        address: Address | None = bind.event.args["address"]
        return None if address is None else self.placed(address)

    @property
    def is_live(self) -> bool:
        """Whether some descriptor was open at the end."""
        return any(descriptor.is_open for descriptor in self.descriptors)

    def live_registrations(self) -> Iterator[Registration]:
        """Yield the epoll registrations of its descriptors that are there at the end.

        A registration outlives its descriptor's close while another descriptor of the same open
        file description is open (epoll(7), questions and answers, 6).
        """
        for descriptor in self.descriptors:
            for registration in descriptor.registrations:
                if registration.is_live:
                    yield registration

    @property
    def protocol_name(self) -> str:
        """TCP, UDP, MPTCP, UNIX, `unknown`, or the family's name or the type for anything else."""
        if self.family == "AF_UNIX":
            return "UNIX" if self.type in ("SOCK_STREAM", "") else f"UNIX {self._kind}"
        if self.family not in ("AF_INET", "AF_INET6"):
            return self.family
        if not self.type:
            return "unknown"  # its socket() was not seen, and a bind does not show it
        known = _PROTOCOLS.get((self.type, self.protocol))
        return known or f"{self._kind} of protocol {self.protocol}"

    @property
    def _kind(self) -> str:
        return self.type.removeprefix("SOCK_").lower()


@dataclass(eq=False, slots=True)
class Epoll:
    """One epoll instance; it belongs to the threads that wait on it, whoever made it."""

    pid: int
    fd: int
    generation: int
    created: Event
    waiters: list[Thread] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)

    __repr__ = brief_repr


@dataclass(eq=False, slots=True)
class Registration:
    """A descriptor of a socket in an epoll instance, from `since_ns` until `until_ns`."""

    epoll: Epoll
    descriptor: Descriptor
    events: tuple[str, ...]
    added: Call
    since_ns: int
    until_ns: int | None = None
    certain: bool = True

    __repr__ = brief_repr

    @property
    def is_live(self) -> bool:
        """Whether it was there at the end."""
        return self.until_ns is None

    @property
    def asks_for_input(self) -> bool:
        """Whether the mask asks to be woken when a client comes."""
        return not {"EPOLLIN", "EPOLLRDNORM"}.isdisjoint(self.events)

    @property
    def wakes(self) -> list[Thread]:
        """The threads that it wakes at the end when a client comes.

        None if the mask does not ask for input, or if the descriptor is closed: the kernel would
        still report it while another one of its open file description is open (epoll(7)), but
        no thread can accept on it. A thread that has exited waits no more.
        """
        if not (self.is_live and self.descriptor.is_open and self.asks_for_input):
            return []
        return [thread for thread in self.epoll.waiters if thread.exited_ns is None]


@frozen
class Gap:
    """Lost records: `count` of them (0: unknown) on one CPU between two times (None: the end)."""

    cpu: int
    start_ns: int
    end_ns: int | None
    count: int


@dataclass(eq=False)
class SocketGraph:
    """Everything that a trace shows about sockets.

    Args:
        processes, threads: by pid and tid.
        sockets: in order of birth, accepted connections and probes included.
        registrations: in order of time.
        gaps: where records are missing.
        tripwires: calls that can move descriptors on paths the probe does not see.
        inconsistencies: observed facts that contradict each other.
        ignored: operations on descriptors that were never sockets, by call.
        file_calls: unlink, chmod and the like, in time order.
        candidates: sockets that may belong to a listener: no probes, no accepted connections.
        calls: the calls on sockets by their names, in the order in which they were folded.
        by_place: the candidates by the port, path or abstract name of an address.
        declared: the processes that the accounts say are Envoys.
        accounts: what kernel and Envoys said, and when.
        phases: the phases that the trace has, with the listeners by the config.
    """

    processes: dict[int, Process] = field(default_factory=dict)
    threads: dict[int, Thread] = field(default_factory=dict)
    sockets: list[KernelSocket] = field(default_factory=list)
    epolls: list[Epoll] = field(default_factory=list)
    registrations: list[Registration] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    tripwires: list[Event] = field(default_factory=list)
    inconsistencies: list[Fact] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    file_calls: list[Event] = field(default_factory=list)
    candidates: list[KernelSocket] = field(default_factory=list)
    by_place: dict[int | str, list[KernelSocket]] = field(default_factory=dict)
    declared: frozenset[int] = frozenset()
    accounts: tuple[Witness, ...] = ()
    phases: tuple[Phase, ...] = ()
    calls: dict[str, list[Call]] = field(default_factory=dict)
    _by_event: dict[str, dict[int, Call]] = field(default_factory=dict)

    __repr__ = brief_repr

    def call_of(self, event: Event) -> Call | None:
        """Return what the graph knows of a call; None if it was on no socket."""
        named = self._by_event.get(event.call)
        if named is None:
            named = {id(call.event): call for call in self.calls.get(event.call, ())}
            self._by_event[event.call] = named
        return named.get(id(event))

    def is_surely_envoy(self, pid: int) -> bool:
        """Whether a process is an Envoy whatever was lost: accounts say so, or it is alone."""
        return pid in self.declared or len(self.processes) == 1

    def workers(self) -> list[Thread]:
        """Return the worker threads in order of their number."""
        found = [thread for thread in self.threads.values() if thread.role.startswith("worker_")]
        return sorted(found, key=lambda thread: (int(thread.role[7:]), thread.tid))

    def listening(self) -> Iterator[KernelSocket]:
        """Yield sockets that ever served as a listener: listened, or bound datagram sockets.

        Those of clients are left out.
        """
        for socket in self.candidates:
            bound = socket.binds and socket.type == "SOCK_DGRAM" and not socket.is_client
            if socket.listens or bound:
                yield socket

    def servers_of(self, socket: KernelSocket) -> list[Thread]:
        """Return the threads that wait for the socket at the end, without repetition."""
        found: list[Thread] = []
        if socket.is_open_to_clients:
            for registration in socket.live_registrations():
                found += [thread for thread in registration.wakes if thread not in found]
        return found


def place_key(address: Address) -> int | str:
    """Return the part of an address by which sockets are found: its port, or its Unix name."""
    if address.port is not None:
        return address.port
    return address.path if address.path is not None else f"@{address.abstract}"
