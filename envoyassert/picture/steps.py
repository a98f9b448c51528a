"""How the listeners of a run came to be served, in six steps: counts, threads and times.

Made, options set, bound, copied, listening, put into an epoll: what Envoy does for each listener
from socket(2) until a worker waits for clients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from envoyassert.calls.row import address_text
from envoyassert.events import Event
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.report.call import Clock, thread_label
from envoyassert.report.table import count
from envoyassert.trace import STARTUP, Trace


@dataclass(frozen=True)
class StoryPart:
    """What one step did for one address.

    Args:
        address: protocol and address of the sockets.
        words: in one sentence.
        calls: places of the calls in the events of the trace.
    """

    address: str
    words: str
    calls: tuple[int, ...]


@dataclass(frozen=True)
class StoryStep:
    """One of the six steps.

    Args:
        kind: `made`, `options`, `bound`, `copied`, `listening` or `served`.
        title: what is done, in words.
        number: how many calls did it.
        threads: labels of the threads that did it, in order of time.
        begins_ms, ends_ms: when the first and the last call returned, in milliseconds since Envoy's
            first instruction; None where there is no call, or where the trace has no times.
        words: what happened in one sentence, also where nothing did.
        parts: the same for each address.
    """

    kind: str
    title: str
    number: int
    threads: tuple[str, ...]
    begins_ms: float | None
    ends_ms: float | None
    words: str
    parts: tuple[StoryPart, ...]


@dataclass(frozen=True)
class _Kind:
    """A kind of step: which calls it has of a socket, and its words."""

    kind: str
    title: str
    noun: str
    none: str
    calls: Callable[[KernelSocket], Sequence[Event]]


def _made(socket: KernelSocket) -> list[Event]:
    return [socket.born] if socket.origin == "socket" else []


def _options(socket: KernelSocket) -> list[Event]:
    return [option.call.event for option in socket.options]


def _bound(socket: KernelSocket) -> list[Event]:
    return [call.event for call in socket.binds]


def _copied(socket: KernelSocket) -> list[Event]:
    copies = ("dup", "fcntl", "scm_rights", "fork")
    return [d.opened for d in socket.descriptors if d.origin in copies]


def _listening(socket: KernelSocket) -> list[Event]:
    return [call.event for call in socket.listens]


def _served(socket: KernelSocket) -> list[Event]:
    return [
        registration.added.event
        for descriptor in socket.descriptors
        for registration in descriptor.registrations
        if registration.asks_for_input
    ]


_KINDS = (
    _Kind("made", "Sockets are made", "socket() call", "no socket was made", _made),
    _Kind("options", "Options are set", "setsockopt() call", "no option was set", _options),
    _Kind("bound", "They are bound", "bind() call", "nothing was bound", _bound),
    _Kind(
        "copied",
        "Descriptors are copied",
        "copy of a descriptor",
        "no descriptor was copied: each socket has one",
        _copied,
    ),
    _Kind("listening", "They listen", "listen() call", "nothing listens", _listening),
    _Kind(
        "served",
        "Threads wait for clients",
        "registration in an epoll",
        "no thread waits for clients",
        _served,
    ),
)
_PLURALS = {
    "copy of a descriptor": "copies of descriptors",
    "registration in an epoll": "registrations in epolls",
}


def start_steps(trace: Trace, graph: SocketGraph) -> tuple[StoryStep, ...]:
    """Return the six steps by which the sockets of a run came to be served.

    Of a run with phases those of its start-up; where nothing was bound by then, all. Envoy's own
    sockets for hot restart are left out.

    Args:
        trace: the trace.
        graph: what it folds into.
    """
    sockets = [socket for socket in graph.listening() if not socket.is_hot_restart]
    ends = [phase.end_ns for phase in trace.phases if phase.kind == STARTUP]
    until = ends[0] if ends else None
    if until is not None and not any(
        event.ts_ns <= until for socket in sockets for event in _bound(socket)
    ):
        until = None
    places = {id(event): place for place, event in enumerate(trace.events)}
    clock = Clock(trace)
    return tuple(_step(kind, sockets, until, places, graph, clock) for kind in _KINDS)


def _step(
    kind: _Kind,
    sockets: list[KernelSocket],
    until: int | None,
    places: dict[int, int],
    graph: SocketGraph,
    clock: Clock,
) -> StoryStep:
    groups: dict[str, list[tuple[KernelSocket, Event]]] = {}
    for socket in sockets:
        for event in kind.calls(socket):
            if until is None or event.ts_ns <= until:
                place = f"{socket.protocol_name} {address_text(socket.address)}"
                groups.setdefault(place, []).append((socket, event))
    pairs = [pair for group in groups.values() for pair in group]
    events = sorted((event for _, event in pairs), key=lambda event: event.ts_ns)
    threads = tuple(_threads(events, graph))
    return StoryStep(
        kind.kind,
        kind.title,
        len(events),
        threads,
        clock.ms(events[0].ts_ns) if events else None,
        clock.ms(events[-1].ts_ns) if events else None,
        _words(kind, len(events), threads, len({s.number for s, _ in pairs})),
        tuple(
            StoryPart(
                address,
                _words(
                    kind,
                    len(group),
                    tuple(_threads([event for _, event in group], graph)),
                    len({socket.number for socket, _ in group}),
                ),
                tuple(places[id(event)] for _, event in group if id(event) in places),
            )
            for address, group in groups.items()
        ),
    )


def _threads(events: Sequence[Event], graph: SocketGraph) -> Iterator[str]:
    yield from dict.fromkeys(thread_label(graph, event.tid) for event in events)


def _words(kind: _Kind, number: int, threads: tuple[str, ...], sockets: int) -> str:
    if not number:
        return kind.none
    done = count(number, kind.noun, _PLURALS.get(kind.noun, ""))
    on = "" if kind.kind == "made" else f" of {count(sockets, 'kernel socket')}"
    shown = list(threads[:8]) + ([f"{len(threads) - 8} more"] if len(threads) > 8 else [])
    return f"{done}{on}, by {', '.join(shown)}"
