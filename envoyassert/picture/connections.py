"""What each thread held of connections over time, what waited, and what came of clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envoyassert.accounts import Witness
from envoyassert.calls.row import address_text
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.picture.socket_map import process_names, thread_id
from envoyassert.trace import ConnectionAttempt, Trace


@dataclass(frozen=True)
class Held:
    """The accepted connections that one thread held.

    Args:
        thread: id of the thread in whose epoll they were registered first; of one that was in
            none, the thread that accepted it.
        label: its name.
        changes: (CLOCK_MONOTONIC nanoseconds, how many it held from then on), in order.
        total: how many there were.
    """

    thread: str
    label: str
    changes: tuple[tuple[int, int], ...]
    total: int

    @property
    def most(self) -> int:
        """The greatest number at one time."""
        return max((number for _, number in self.changes), default=0)


@dataclass(frozen=True)
class Queued:
    """How many connections waited on a port when the kernel was asked.

    Args:
        ts_ns: when.
        when: in words.
        address: the socket's.
        queue: how many waited.
        backlog: how many may wait.
    """

    ts_ns: int
    when: str
    address: str
    queue: int
    backlog: int | None


@dataclass(frozen=True)
class Client:
    """One attempt of the driver to reach a listener.

    Args:
        began_ns, ended_ns: from when to when.
        address: where to.
        fate: what came of it, in a word or two.
        ok: whether it was connected.
        phase: the name of the step.
    """

    began_ns: int
    ended_ns: int
    address: str
    fate: str
    ok: bool
    phase: str


@dataclass(frozen=True)
class Connections:
    """All of it."""

    held: tuple[Held, ...]
    queued: tuple[Queued, ...]
    clients: tuple[Client, ...]


def connections(trace: Trace, graph: SocketGraph) -> Connections:
    """Return what a trace shows of connections.

    Args:
        trace: the trace.
        graph: what it folds into.
    """
    return Connections(
        tuple(_held(trace, graph)), tuple(_all_queued(trace)), tuple(_clients(trace))
    )


def _held(trace: Trace, graph: SocketGraph) -> Iterator[Held]:
    processes = process_names(trace, graph)
    changes: dict[int, list[tuple[int, int]]] = {}
    for socket in graph.sockets:
        if socket.origin == "accept":
            mine = changes.setdefault(_holder(socket), [])
            mine.append((socket.born.ts_ns, 1))
            if socket.closed_ns is not None:
                mine.append((socket.closed_ns, -1))
    order = {thread.tid: place for place, thread in enumerate(graph.workers())}
    for tid in sorted(changes, key=lambda tid: (order.get(tid, len(order)), tid)):
        now, steps = 0, []
        for at, change in sorted(changes[tid]):
            now += change
            steps.append((at, now))
        thread = graph.threads.get(tid)
        label = f"thread {tid}" if thread is None else thread.role
        if thread is not None and label == "other":
            label = thread.name or f"thread {tid}"
        process = processes.get(thread.pid, "") if thread is not None else ""
        total = sum(change > 0 for _, change in changes[tid])
        yield Held(thread_id(tid), f"{label} {process}".strip(), tuple(steps), total)


def _holder(connection: KernelSocket) -> int:
    """Return the thread that handles a connection."""
    registrations = [r for d in connection.descriptors for r in d.registrations]
    if registrations:
        waiters = min(registrations, key=lambda one: one.since_ns).epoll.waiters
        if len(waiters) == 1:
            return waiters[0].tid
    return connection.born.tid


def _all_queued(trace: Trace) -> Iterator[Queued]:
    for phase in trace.phases:
        yield from _queued(phase.witness, f"at the end of {phase.name}")
    last = trace.phases[-1].witness if trace.phases else None
    if trace.witness is not last:
        yield from _queued(trace.witness, "at the end")


def _queued(witness: Witness | None, when: str) -> Iterator[Queued]:
    if witness is None or witness.network is None:
        return
    own = {one.inode for one in witness.sockets}
    for socket in witness.network.sockets:
        if socket.inode in own and socket.queue is not None:
            address = address_text(socket.address)
            yield Queued(witness.ts_ns, when, address, socket.queue, socket.backlog)


def _clients(trace: Trace) -> Iterator[Client]:
    for phase in trace.phases:
        for attempt in phase.attempts:
            address = address_text(attempt.address)
            begin_ns, end_ns = attempt.began_ns, attempt.ended_ns
            yield Client(begin_ns, end_ns, address, _fate(attempt), attempt.ok, phase.name)


def _fate(attempt: ConnectionAttempt) -> str:
    if not attempt.ok:
        return f"failed: {attempt.errno}"
    if attempt.end == "reset":
        return "reset"
    if attempt.first_byte:
        return "answered" + (", held" if attempt.end == "held" else "")
    return {"held": "held", "eof": "closed by Envoy"}.get(attempt.end, "no answer")
