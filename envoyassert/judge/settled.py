"""What a graph says of the time in which an account was taken, so that the two can be compared.

An account takes time, and an event is recorded at the return of its call (that of close and of
exit: when it begins), a little after or before its effect. So of a fact that changes meanwhile
there are several values that the account may show: what the trace has at any instant of the
account, and besides what a call that was in flight explains: the first of its thread that was
recorded afterwards may have taken effect before its return, and the last one before may be a close
that takes effect later. Only what a call on the very thing may have changed is in doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from envoyassert.calls import KERNEL_FACTS, TIMED_AT_ENTRY
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.frozen import brief_repr, frozen
from envoyassert.graph.descriptor_tables import succeeded
from envoyassert.graph.model import Descriptor, KernelSocket, Registration, SocketGraph
from envoyassert.trace import Trace

T = TypeVar("T")

#: A socket's listening ends with that of receiving (Linux, net/ipv4/af_inet.c, inet_shutdown()).
_STOPPING = ("SHUT_RD", "SHUT_RDWR")


@frozen
class Possible(Generic[T]):
    """What an account may show of one fact.

    Args:
        held: the values that the trace has at some instant of the account, in order.
        in_flight: further ones, if a call was in flight at its beginning or end.
    """

    held: tuple[T, ...]
    in_flight: tuple[T, ...] = ()

    def is_surely(self, value: T) -> bool:
        """Whether nothing but this value may be shown."""
        return not self.in_flight and set(self.held) == {value}


@frozen
class Settled:
    """The state of a graph while an account was taken.

    Args:
        trace: the trace.
        graph: what it folds into.
        begun_ns: CLOCK_MONOTONIC nanoseconds before the account was taken.
        ts_ns: the same clock afterwards.
    """

    trace: Trace
    graph: SocketGraph
    begun_ns: int
    ts_ns: int

    def descriptors(self) -> Iterator[tuple[Descriptor, Possible[bool]]]:
        """Yield the descriptors of listeners' sockets that may be shown, and whether they are."""
        for socket in self.graph.listening():
            for descriptor in socket.descriptors:
                changes = [(descriptor.opened.ts_ns, True)]
                if descriptor.closed_ns is not None:
                    changes.append((descriptor.closed_ns, False))
                shown = self.possible(changes, start=False)
                if True in shown.held or True in shown.in_flight:
                    yield descriptor, shown

    def listening(self, socket: KernelSocket) -> Possible[bool]:
        """Return whether a socket listens."""
        known = self._listening.get(socket)
        if known is None:
            known = self._listening[socket] = self._listened(socket)
        return known

    def _listened(self, socket: KernelSocket) -> Possible[bool]:
        changes = []
        for event in (call.event for call in socket.calls):
            if succeeded(event) and event.call == "listen":
                changes.append((event.ts_ns, True))
            elif succeeded(event) and event.call == "shutdown" and event.args["how"] in _STOPPING:
                changes.append((event.ts_ns, False))
        return self.possible(changes, start=False)

    def is_closed_next(self, socket: KernelSocket) -> bool:
        """Whether the first that a thread did afterwards closed a descriptor of a socket."""
        return any(descriptor.closed_ns in self._next for descriptor in socket.descriptors)

    def reuse_port(self, socket: KernelSocket) -> Possible[bool]:
        """Return SO_REUSEPORT of a socket."""
        changes = [
            (option.call.event.ts_ns, bool(option.value))
            for option in socket.options
            if option.name == "SO_REUSEPORT"
        ]
        return self.possible(changes, start=False)

    def backlog(self, socket: KernelSocket) -> Possible[int | None]:
        """Return the backlog of the last listen() on a socket, as it was passed."""
        changes = [(call.event.ts_ns, call.event.args["backlog"]) for call in socket.listens]
        return self.possible(changes, start=None)

    def masks(self, registrations: Iterable[Registration]) -> Possible[tuple[str, ...] | None]:
        """Return with which mask a descriptor is in an epoll, None if it is not.

        Args:
            registrations: all there ever were of this number and open file description there.
        """
        changes: list[tuple[int, tuple[str, ...] | None]] = []
        for registration in sorted(registrations, key=lambda r: r.since_ns):
            changes.append((registration.since_ns, registration.events))
            if registration.until_ns is not None:
                changes.append((registration.until_ns, None))
        # One that is modified ends and begins at the same time: it is there throughout.
        kept = [
            change
            for change, after in zip(changes, [*changes[1:], None], strict=False)
            if after is None or change[1] is not None or after[0] != change[0]
        ]
        return self.possible(kept, start=None)

    def possible(self, changes: Iterable[tuple[int, T]], start: T) -> Possible[T]:
        """Return what may be shown of a fact.

        Args:
            changes: the times of the events that change it, in order, and what it is then.
            start: what it is before.
        """
        held, in_flight, before = [start], [], start
        for ts_ns, value in changes:
            if ts_ns <= self.begun_ns:
                held, in_flight = [value], [before] if ts_ns in self._before else []
            elif ts_ns <= self.ts_ns:
                held.append(value)
            elif ts_ns in self._after:
                in_flight.append(value)
            before = value
        return Possible(tuple(held), tuple(value for value in in_flight if value not in held))

    @cached_property
    def _listening(self) -> dict[KernelSocket, Possible[bool]]:
        """What was asked for so far: a socket may have a million calls."""
        return {}

    @cached_property
    def _before(self) -> set[int]:
        """Times of the calls whose effect may come after their record and in the account's time."""
        last = {}
        for event in self.trace.events:
            if event.ts_ns > self.begun_ns:
                break
            last[event.tid] = event
        return {event.ts_ns for event in last.values() if event.call in TIMED_AT_ENTRY}

    @cached_property
    def _after(self) -> set[int]:
        """Times of the calls that may have begun before the account ended, and returned later."""
        return {ts_ns for ts_ns, event in self._next.items() if event.call not in TIMED_AT_ENTRY}

    @cached_property
    def _next(self) -> dict[int, Event]:
        """The first call of each thread after the account, by its time."""
        found = {}
        followed: set[int] = set()
        for event in self.trace.events:
            if event.ts_ns <= self.ts_ns or event.tid in followed or event.call in KERNEL_FACTS:
                continue
            followed.add(event.tid)
            found[event.ts_ns] = event
        return found


@dataclass
class KernelComparison:
    """What came of holding an account of the kernel against the graph.

    Args:
        disagreements: what the two sides say differently.
        compared: how much was compared, by what it is: `socket descriptor`, `option value`, …
        sockets: the sockets that were compared.
        doubtful: sockets of which what the kernel shows may be what a call in flight did, or what
            contradicts the trace, and why that is not known.
        unasked: sockets of which a descriptor could not be looked at, and why.
        untold: names of options of which the kernel does not return what was set, how often each.
        unnoted: what the account does not hold, as that of an earlier version, and how much of it.
    """

    disagreements: list[Fact] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    sockets: set[KernelSocket] = field(default_factory=set)
    doubtful: dict[KernelSocket, Fact] = field(default_factory=dict)
    unasked: dict[KernelSocket, Fact] = field(default_factory=dict)
    untold: Counter[str] = field(default_factory=Counter)
    unnoted: Counter[str] = field(default_factory=Counter)

    __repr__ = brief_repr
