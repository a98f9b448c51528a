"""The story of an Envoy while it happens: a line for each call that its sockets go through."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.calls import CALLS
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket
from envoyassert.report.call import Clock, fd_label, render_call, thread_label
from envoyassert.trace import Trace

#: What is shown beside the calls on sockets: programs that begin, and how they end.
_OF_PROCESSES = ("exec", "exit", "signal")
#: Widths of the time, the thread, the descriptor and the socket.
_WIDTHS = (13, 12, 4, 5)

HEADING = "".join(
    f"{title:<{width}}"
    for title, width in zip(("time", "thread", "fd", "sock"), _WIDTHS, strict=True)
)


class AsItHappens:
    """Makes lines of what is new in a growing trace."""

    def __init__(self) -> None:
        self._shown = 0

    def lines(self, trace: Trace) -> list[str]:
        """Return a line for each event that is worth one and has not been shown.

        Args:
            trace: the trace as it is now, with all that it had before.
        """
        graph = fold(trace)
        clock = Clock(trace)
        sockets = {
            id(call.event): socket
            for socket in graph.sockets
            if not socket.is_probe and socket.origin != "accept"
            for call in socket.calls
        }
        new = trace.events[self._shown :]
        self._shown = len(trace.events)
        return [
            _line(
                clock.text(event.ts_ns),
                thread_label(graph, event.tid),
                fd_label(event),
                sockets.get(id(event)),
                event,
            )
            for event in _worth_showing(new, sockets)
        ]


def _worth_showing(events: list[Event], sockets: dict[int, KernelSocket]) -> Iterator[Event]:
    for event in events:
        shown = event.call == "setsockopt" or CALLS[event.call].phase is not None
        if (id(event) in sockets and shown) or (
            event.call in _OF_PROCESSES and (event.call != "exit" or event.args["last"])
        ):
            yield event


def _line(
    time: str, thread: str, descriptor: str, socket: KernelSocket | None, event: Event
) -> str:
    number = "-" if socket is None else f"#{socket.number}"
    cells = (time, thread, descriptor, number)
    head = "".join(f"{cell:<{width - 1}} " for cell, width in zip(cells, _WIDTHS, strict=True))
    return f"{head}{render_call(event)}"
