"""The figures of a run: when start-up reached which phase, and how many there were of what.

The admin endpoint counts as a listener, the sockets of hot restart do not: Envoy has those before
it reads its config.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.report.call import Clock
from envoyassert.report.parts import DocumentPart
from envoyassert.trace import Trace
from envoyassert.words.startup import Figure, startup_figures


class StartUp(DocumentPart):
    """When start-up reached its phases, in milliseconds since Envoy's first instruction.

    null: the phase was not reached, or the trace has no times.
    """

    first_bind_ms: float | None = Field(description="First successful bind() of a listener.")
    first_listen_ms: float | None = Field(description="First successful listen().")
    served_ms: float | None = Field(
        description="Every open listening socket is in the epoll of a thread that waits on it."
    )
    live_ms: float | None = Field(
        description="/ready said LIVE: since the launch, by the launcher's clock, in steps of its "
        "questions."
    )


class Spent(DocumentPart):
    """How long a part of the start took; a reply is known only from its question to its receipt."""

    at_least_ms: float
    at_most_ms: float


class Durations(DocumentPart):
    """How long the parts of the start took, of all listeners but the admin endpoint.

    Of several sockets the slowest counts. null: not known, or it never happened.
    """

    first_listen: Spent | None = Field(
        description="From Envoy's first instruction until the first socket listens."
    )
    bind_to_listen: Spent | None = Field(description="From bind until the socket listens.")
    listen_to_served: Spent | None = Field(
        description="From when a socket listens until a thread waits for it in an epoll."
    )
    served_to_live: Spent | None = Field(
        description="From when the last socket is served until the first LIVE reply; negative "
        "where LIVE came first."
    )


class Counts(DocumentPart):
    """How many there were of what."""

    events: int = Field(description="Events received.")
    lost_events: int = Field(description="Events that the probe emitted and were not received.")
    processes: int = Field(description="Processes that Envoy was.")
    threads: int = Field(description="Threads that were seen.")
    workers: int = Field(description="Of these, workers.")
    sockets: int = Field(
        description="Kernel sockets, without accepted connections and without those that only "
        "asked what the kernel supports."
    )
    listening_sockets: int = Field(description="Of these, sockets that ever were a listener's.")
    listening_descriptors: int = Field(description="Descriptors there ever were of the latter.")
    binds: int = Field(description="Successful bind() calls on listening sockets.")
    listens: int = Field(description="Successful listen() calls.")


class Figures(DocumentPart):
    """The figures of a run."""

    start_up: StartUp
    durations: Durations
    counts: Counts


def figures_of(trace: Trace, graph: SocketGraph) -> Figures:
    """Return the figures of a run.

    Args:
        trace: the run.
        graph: its socket graph.
    """
    clock = Clock(trace)
    listening = [socket for socket in graph.listening() if not socket.is_hot_restart]
    binds = [call.event.ts_ns for socket in listening for call in socket.binds]
    listens = [call.event.ts_ns for socket in listening for call in socket.listens]
    served_ns = _served_ns(listening)
    live_s = trace.end.outcome.live_after_s
    return Figures(
        start_up=StartUp(
            first_bind_ms=clock.ms(min(binds)) if binds else None,
            first_listen_ms=clock.ms(min(listens)) if listens else None,
            served_ms=None if served_ns is None else clock.ms(served_ns),
            live_ms=None if live_s is None else round(live_s * 1000, 3),
        ),
        durations=Durations(
            **{name: _spent(figure) for name, figure in startup_figures(trace, graph).items()}
        ),
        counts=Counts(
            events=len(trace.events),
            lost_events=sum(counters.dropped for counters in trace.end.cpus),
            processes=len(graph.processes),
            threads=len(graph.threads),
            workers=len(graph.workers()),
            sockets=len(graph.candidates),
            listening_sockets=len(listening),
            listening_descriptors=sum(len(socket.descriptors) for socket in listening),
            binds=len(binds),
            listens=len(listens),
        ),
    )


def _spent(figure: Figure) -> Spent | None:
    if not figure.known:
        return None
    low_ns, high_ns = figure.low_ns, figure.high_ns
    return Spent(at_least_ms=round(low_ns / 1e6, 3), at_most_ms=round(high_ns / 1e6, 3))


def _served_ns(listening: Iterable[KernelSocket]) -> int | None:
    """Return when the last of the open sockets was first waited for; None if one never is."""
    latest = None
    for socket in listening:
        if not socket.is_open_to_clients:
            continue
        since = [reg.since_ns for reg in socket.live_registrations() if reg.wakes]
        if not since:
            return None
        latest = min(since) if latest is None else max(latest, min(since))
    return latest
