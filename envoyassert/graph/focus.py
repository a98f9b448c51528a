"""The socket graph as far as one process made it, in a run of several Envoys."""

from __future__ import annotations

from collections.abc import Container

from envoyassert.graph.fold import fold
from envoyassert.graph.model import Call, SocketGraph
from envoyassert.trace import Trace


def focus(trace: Trace, pids: Container[int]) -> SocketGraph:
    """Fold a trace and leave out what other processes did.

    A kernel socket stays if one of these processes holds or held a descriptor of it, whoever made
    it; of its calls, descriptors and registrations those of these processes stay. Its options and
    its address are the socket's own, and its number is the one that it has in the whole graph.

    Args:
        trace: the whole trace; what one process sent, another may have received.
        pids: the processes that count.
    """
    graph = fold(trace)
    graph.threads = {tid: thread for tid, thread in graph.threads.items() if thread.pid in pids}
    for socket in graph.sockets:
        socket.descriptors = [d for d in socket.descriptors if d.pid in pids]
        for descriptor in socket.descriptors:
            descriptor.registrations = [
                one for one in descriptor.registrations if one.added.thread.pid in pids
            ]
        if socket.binds and socket.descriptors and socket.binds[0].thread.pid not in pids:
            received_ns = min(descriptor.opened.ts_ns for descriptor in socket.descriptors)
            socket.handed_over_ns = max(received_ns, socket.binds[0].event.ts_ns)
        for calls in (socket.calls, socket.binds, socket.listens, socket.failed_binds):
            calls[:] = _made_by(calls, pids)
    mine = {id(socket) for socket in graph.sockets if socket.descriptors}
    graph.sockets = [socket for socket in graph.sockets if id(socket) in mine]
    graph.candidates = [socket for socket in graph.candidates if id(socket) in mine]
    graph.by_place = {
        place: [socket for socket in sockets if id(socket) in mine]
        for place, sockets in graph.by_place.items()
    }
    graph.registrations = [one for one in graph.registrations if one.added.thread.pid in pids]
    return graph


def _made_by(calls: list[Call], pids: Container[int]) -> list[Call]:
    return [call for call in calls if call.thread.pid in pids]
