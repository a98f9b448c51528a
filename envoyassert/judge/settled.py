"""What did not change while an account was taken, so that it can be held against the trace.

An account takes time, and an event is recorded at the return of its call (that of close and of
exit: when it begins), a little after or before its effect. So an event may have taken effect while
the account was taken if it was recorded within that time, if it is the first of its thread that
was recorded afterwards, or if it is its thread's last one before and takes effect later. What such
an event touches is left out of the comparison; all else was the same from beginning to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from envoyassert.events import Event
from envoyassert.graph.model import Descriptor, KernelSocket, SocketGraph
from envoyassert.trace import Trace

#: Recorded when they begin; the effect comes later.
_EFFECT_LATER = frozenset({"close", "exit"})
#: Calls that leave a socket, its descriptors and registrations as they were.
_NO_CHANGE = frozenset({"accept", "accept4", "getsockname", "connect"})


@dataclass(frozen=True)
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

    def descriptors(self, pid: int = 0) -> dict[tuple[int, int], Descriptor]:
        """Return the open descriptors of listeners' sockets, by process and number.

        Args:
            pid: of this process alone; 0 for all.
        """
        return {
            (descriptor.pid, descriptor.fd): descriptor
            for socket in self.graph.listening()
            for descriptor in socket.descriptors
            if pid in (0, descriptor.pid) and self._is_open(descriptor)
        }

    def is_settled(self, socket: KernelSocket) -> bool:
        """Whether nothing about a socket changed meanwhile."""
        return id(socket) not in self._moving_sockets

    def is_listening(self, socket: KernelSocket) -> bool:
        """Whether a socket listened."""
        if socket.stopped_ns is not None and socket.stopped_ns <= self.ts_ns:
            return False
        return any(call.event.ts_ns <= self.ts_ns for call in socket.listens)

    def reuse_port(self, socket: KernelSocket) -> bool:
        """Return SO_REUSEPORT of a socket."""
        values = [
            option.value
            for option in socket.options
            if option.name == "SO_REUSEPORT" and option.call.event.ts_ns <= self.ts_ns
        ]
        return bool(values and values[-1])

    def backlog(self, socket: KernelSocket) -> int | None:
        """Return the backlog of the last listen() on a socket, as it was passed."""
        calls = [call for call in socket.listens if call.event.ts_ns <= self.ts_ns]
        return calls[-1].event.args["backlog"] if calls else None

    def is_moving(self, pid: int, fd: int) -> bool:
        """Whether a number may have been opened or closed meanwhile."""
        return (pid, fd) in self._moving_numbers

    def _is_open(self, descriptor: Descriptor) -> bool:
        if descriptor.opened.ts_ns > self.ts_ns:
            return False
        return descriptor.closed_ns is None or descriptor.closed_ns > self.ts_ns

    @cached_property
    def _moving(self) -> list[Event]:
        """The events that may have taken effect meanwhile."""
        found = []
        last: dict[int, Event] = {}
        followed: set[int] = set()
        for event in self.trace.events:
            if event.ts_ns < self.begun_ns:
                last[event.tid] = event
            elif event.ts_ns <= self.ts_ns:
                found.append(event)
            elif event.tid not in followed:
                followed.add(event.tid)
                found.append(event)
        found += [event for event in last.values() if event.call in _EFFECT_LATER]
        return [event for event in found if event.call not in _NO_CHANGE]

    @cached_property
    def _moving_sockets(self) -> set[int]:
        events = {id(event) for event in self._moving}
        if not events:
            return set()
        return {
            id(socket)
            for socket in self.graph.listening()
            if any(id(call.event) in events for call in socket.calls)
            or any(id(descriptor.opened) in events for descriptor in socket.descriptors)
        }

    @cached_property
    def _moving_numbers(self) -> set[tuple[int, int]]:
        found = set()
        for event in self._moving:
            numbers = [event.ret, event.args.get("fd"), *event.args.get("fds", ())]
            found |= {(event.pid, fd) for fd in numbers if isinstance(fd, int) and fd >= 0}
        return found
