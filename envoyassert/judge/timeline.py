"""When a listener is bound, listens and is served: stretches of time from the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from envoyassert.graph.model import KernelSocket, Thread
from envoyassert.judge.context import UNKNOWN_WORKERS, Context
from envoyassert.judge.roles import matches_role
from envoyassert.judge.values import Fact

#: A stretch of time in ns: from the first to before the second, None for the end of the trace.
Span = tuple[int, int | None]
#: Sorted, and no two of them touch.
Spans = list[Span]


def merged(spans: Iterable[Span]) -> Spans:
    """Return stretches as sorted ones that do not touch."""
    found: Spans = []
    for begin, end in sorted(spans, key=lambda span: span[0]):
        if end is not None and end <= begin:
            continue
        if found and (found[-1][1] is None or begin <= found[-1][1]):
            last = found[-1][1]
            found[-1] = (found[-1][0], None if last is None or end is None else max(last, end))
        else:
            found.append((begin, end))
    return found


def common(one: Spans, other: Spans) -> Spans:
    """Return the stretches in which both hold."""
    return merged(
        (max(a, c), b if d is None else d if b is None else min(b, d))
        for a, b in one
        for c, d in other
        if (b is None or c < b) and (d is None or a < d)
    )


def without(spans: Spans, begin_ns: int, end_ns: int) -> list[tuple[int, int]]:
    """Return the parts of [begin, end) that no stretch covers."""
    breaks = []
    at = begin_ns
    for begin, end in spans:
        if begin >= end_ns:
            break
        if begin > at:
            breaks.append((at, begin))
        at = end_ns if end is None else max(at, end)
    if at < end_ns:
        breaks.append((at, end_ns))
    return breaks


def first_ns(spans: Spans) -> int | None:
    """Return when the first stretch begins."""
    return spans[0][0] if spans else None


def _earlier(*times: int | None) -> int | None:
    known = [time for time in times if time is not None]
    return min(known) if known else None


def bound_spans(socket: KernelSocket) -> Spans:
    """Return when a socket was bound and open."""
    begin = socket.binds[0].event.ts_ns if socket.binds else socket.handed_over_ns
    if begin is None:
        return []
    end = None if socket.is_live else socket.closed_ns
    return merged([(begin, end)])


def listening_spans(socket: KernelSocket) -> Spans:
    """Return when clients could reach a socket: it listened, or is a bound datagram socket."""
    if socket.type == "SOCK_DGRAM":
        return bound_spans(socket)
    if not socket.listens:
        return []
    closed = None if socket.is_live else socket.closed_ns
    return merged([(socket.listens[0].event.ts_ns, _earlier(socket.stopped_ns, closed))])


def served_spans(sockets: Iterable[KernelSocket]) -> dict[Thread, Spans]:
    """Return for each thread when it could accept on one of the sockets.

    It waits on an epoll that holds a descriptor of the socket, and the socket listens.
    """
    found: dict[Thread, list[Span]] = {}
    for socket in sockets:
        listening = listening_spans(socket)
        for descriptor in socket.descriptors:
            for registration in descriptor.registrations:
                if not registration.asks_for_input:
                    continue
                until = _earlier(registration.until_ns, descriptor.closed_ns)
                for thread in registration.epoll.waiters:
                    span = (registration.since_ns, _earlier(until, thread.exited_ns))
                    found.setdefault(thread, []).extend(common(merged([span]), listening))
    return {thread: merged(spans) for thread, spans in found.items()}


def spans_of(
    context: Context, sockets: tuple[KernelSocket, ...], state: str, by: str | None
) -> tuple[Spans, Fact | None]:
    """Return when a listener has a state, and why that is not known, or None.

    Args:
        context: the trace.
        sockets: the listener's sockets.
        state: `bound`, `listening` or `served`.
        by: with `served`: a role; `workers` means each of them, None any thread.
    """
    if state != "served":
        of_socket: Callable[[KernelSocket], Spans] = (
            bound_spans if state == "bound" else listening_spans
        )
        return merged(span for socket in sockets for span in of_socket(socket)), None
    served = served_spans(sockets)
    if by != "workers":
        chosen = [
            spans for thread, spans in served.items() if by is None or matches_role(thread, by)
        ]
        return merged(span for spans in chosen for span in spans), None
    if context.workers < 1:
        return [], UNKNOWN_WORKERS
    workers = context.worker_threads
    if len(workers) < context.workers:
        return [], None  # one of them never came
    if len(workers) > context.workers:
        return [], Fact("workers_exist", number=len(workers), wanted=context.workers)
    common_spans: Spans = served.get(workers[0], [])
    for worker in workers[1:]:
        common_spans = common(common_spans, served.get(worker, []))
    return common_spans, None
