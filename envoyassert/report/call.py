"""One event in words: the call as strace would print it, its time, and its thread."""

from __future__ import annotations

from envoyassert.calls import CALLS
from envoyassert.calls.row import or_unknown
from envoyassert.events import Event
from envoyassert.graph.model import SocketGraph
from envoyassert.trace import Trace


def render_call(event: Event) -> str:
    """Return the call as strace prints it: `bind(32, 0.0.0.0:15006) = -1 EADDRINUSE`.

    What was not observed is `?`; the kernel's own facts (exec, fork …) have no result.
    """
    row = CALLS[event.call]
    if row.text is not None:
        arguments = row.text(event.args)
    else:
        arguments = ", ".join(or_unknown(value) for value in event.args.values())
    return f"{event.call}({arguments}){_result(event)}"


def _result(event: Event) -> str:
    row = CALLS[event.call]
    if row.is_fact or (row.at_entry and event.ret is None):
        return ""
    if event.ret is None:
        return " = ?"
    return f" = -1 {event.errno}" if event.ret < 0 else f" = {event.ret}"


class Clock:
    """Times of a trace as text, relative to the first exec.

    Args:
        trace: the trace; one without real times (an imported log) is numbered instead.
    """

    def __init__(self, trace: Trace) -> None:
        self._ordinal = "completeness" in trace.header.unobserved
        starts = [event.ts_ns for event in trace.events if event.call == "exec"]
        starts = starts or [event.ts_ns for event in trace.events[:1]]
        self.start_ns = starts[0] if starts else 0

    def ms(self, ts_ns: int) -> float | None:
        """Return milliseconds since the first exec, or None where the trace has no times."""
        return None if self._ordinal else round((ts_ns - self.start_ns) / 1e6, 3)

    def text(self, ts_ns: int) -> str:
        """Return `+1.203ms`, or `event 14` in a trace without times."""
        ms = self.ms(ts_ns)
        return f"event {ts_ns}" if ms is None else f"{ms:+.3f}ms"


def thread_label(graph: SocketGraph, tid: int) -> str:
    """Return `main`, `worker_0`, or for other threads their name or number.

    Where there are several processes, main and the threads of a helper have their number behind it.
    """
    thread = graph.threads.get(tid)
    if thread is None:
        return f"thread {tid}"
    if thread.role == "main" and len(graph.processes) > 1:
        return f"main/{thread.pid}"
    if not thread.of_envoy:
        return f"{thread.name or 'thread'}/{tid}"
    if thread.role == "other":
        return thread.name or f"thread {tid}"
    return thread.role


def fd_label(event: Event) -> str:
    """Return the descriptor that a call worked on or made, or `-`."""
    fd = event.args.get("fd")
    if fd is None and event.call in ("socket", "epoll_create1") and event.ok:
        fd = event.ret
    return "-" if fd is None else str(fd)
