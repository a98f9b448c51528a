"""Descriptor tables of the traced processes: numbers now, identities for ever.

A close carries the time of its entry and a birth that of its return, so a number is always seen to
be closed before it is seen to be given out again, whichever threads do it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from envoyassert.calls import CALLS
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.graph.model import (
    Descriptor,
    Epoll,
    Gap,
    KernelSocket,
    Registration,
    SocketGraph,
)


def succeeded(event: Event) -> bool:
    """Whether a call succeeded, or its result was not observed and is taken as success."""
    return event.ret is None or event.ret >= 0


def _closes_on_exec(held: Descriptor | Epoll) -> bool:
    # fork(2) hands the flag on.
    while isinstance(held, Descriptor) and held.origin == "fork" and held.source is not None:
        held = held.source
    event = held.created if isinstance(held, Epoll) else held.opened
    if event.call == "fcntl":
        return bool(event.args["cmd"] == "F_DUPFD_CLOEXEC")
    flags = event.args.get("flags", ())
    return not isinstance(flags, int) and CALLS[event.call].cloexec in flags


def _end(registrations: Iterable[Registration], ts_ns: int) -> None:
    for registration in registrations:
        if registration.until_ns is None:
            registration.until_ns = ts_ns


class DescriptorTables:
    """The descriptors of every process, kept while the events go by.

    Args:
        graph: receives descriptors, epolls and contradictions.
    """

    def __init__(self, graph: SocketGraph) -> None:
        self._graph = graph
        #: What each number stands for now, by process.
        self.now: dict[int, dict[int, Descriptor | Epoll]] = defaultdict(dict)
        self._generations: dict[tuple[int, int], int] = {}
        self._active: list[Gap] = []
        self._tainted_epolls: set[Epoll] = set()
        #: Whether records were lost so far.
        self.lossy = False

    def open_gap(self, gap: Gap) -> None:
        """Taint everything that is open while records are lost."""
        self.lossy = True
        self._active.append(gap)
        for table in self.now.values():
            for held in table.values():
                if isinstance(held, Epoll):
                    self._tainted_epolls.add(held)
                elif held.tainted_ns is None:
                    held.tainted_ns = gap.start_ns

    def _in_gap(self, ts_ns: int) -> bool:
        if not self._active:
            return False
        self._active = [g for g in self._active if g.end_ns is None or g.end_ns >= ts_ns]
        return bool(self._active)

    def is_epoll_certain(self, epoll: Epoll) -> bool:
        """Whether an epoll's identity is beyond doubt."""
        return epoll not in self._tainted_epolls

    def _vacate(self, event: Event, fd: int) -> int:
        """Make room for a birth at `fd`; return the number's new generation."""
        held = self.now[event.pid].get(fd)
        if held is not None:
            certain = isinstance(held, Epoll) or held.tainted_ns is None
            if certain and not self.lossy:
                opened = held.created if isinstance(held, Epoll) else held.opened
                found = Fact(
                    "open_already",
                    call=event.call,
                    fd=fd,
                    tid=event.tid,
                    opened=opened.call,
                    opened_tid=opened.tid,
                    age_ns=event.ts_ns - opened.ts_ns,
                )
                self._graph.inconsistencies.append(found)
            self.close(event, fd)
        number = event.pid, fd
        generation = self._generations[number] = self._generations.get(number, 0) + 1
        return generation

    def open(self, event: Event, fd: int, socket: KernelSocket, origin: str) -> Descriptor:
        """Record the birth of a descriptor of `socket` and return it."""
        generation = self._vacate(event, fd)
        descriptor = Descriptor(event.pid, fd, generation, socket, origin, event)
        if self._in_gap(event.ts_ns):
            descriptor.tainted_ns = event.ts_ns
        self.now[event.pid][fd] = descriptor
        socket.descriptors.append(descriptor)
        socket.holding += 1
        return descriptor

    def open_epoll(self, event: Event, fd: int) -> Epoll:
        """Record the birth of an epoll instance and return it."""
        epoll = Epoll(event.pid, fd, self._vacate(event, fd), event)
        if self._in_gap(event.ts_ns):
            self._tainted_epolls.add(epoll)
        self.now[event.pid][fd] = epoll
        self._graph.epolls.append(epoll)
        return epoll

    def copy(self, event: Event, held: Descriptor | Epoll | None, fd: int, origin: str) -> None:
        """Make `fd` stand for what `held` stands for; dup2 and dup3 close `fd` first."""
        if event.call in ("dup2", "dup3"):
            self.close(event, fd)
        if isinstance(held, Descriptor):
            copied = self.open(event, fd, held.socket, origin)
            copied.source = held
            if held.tainted_ns is not None:
                copied.tainted_ns = event.ts_ns
        elif isinstance(held, Epoll):
            self._vacate(event, fd)
            self.now[event.pid][fd] = held
        else:
            self._vacate(event, fd)

    def fork(self, event: Event, child_pid: int) -> None:
        """Give a forked process copies of its parent's descriptors."""
        for fd, held in list(self.now[event.pid].items()):
            if isinstance(held, Epoll):
                self.now[child_pid][fd] = held
                continue
            copied = Descriptor(child_pid, fd, 1, held.socket, "fork", event, held)
            copied.tainted_ns = None if held.tainted_ns is None else event.ts_ns
            self.now[child_pid][fd] = copied
            held.socket.descriptors.append(copied)
            held.socket.holding += 1

    def close(self, event: Event, fd: int) -> None:
        """Record that a number stands for nothing any more, and what ends with it."""
        held = self.now[event.pid].pop(fd, None)
        if isinstance(held, Descriptor):
            held.closed_ns = event.ts_ns
            socket = held.socket
            socket.holding -= 1
            if not socket.holding:
                socket.closed_ns = event.ts_ns
                for descriptor in socket.descriptors:
                    _end(descriptor.registrations, event.ts_ns)
        elif isinstance(held, Epoll) and not self._is_held(held):
            _end(held.registrations, event.ts_ns)

    def close_range(self, event: Event, first: int, last: int) -> None:
        """Record close_range(2), both ends included."""
        for fd in [fd for fd in self.now[event.pid] if first <= fd <= last]:
            self.close(event, fd)

    def close_all(self, event: Event) -> None:
        """Record that a process is gone, and its descriptors with it."""
        self.close_range(event, 0, 1 << 32)

    def close_on_exec(self, event: Event) -> None:
        """Record what exec closes."""
        for fd, held in list(self.now[event.pid].items()):
            if _closes_on_exec(held):
                self.close(event, fd)

    def _is_held(self, epoll: Epoll) -> bool:
        """Whether a process that made the epoll, or waits on it, holds it; a bare copy is idle."""
        pids = {epoll.pid, *(thread.pid for thread in epoll.waiters)}
        return any(held is epoll for pid in pids for held in self.now[pid].values())
