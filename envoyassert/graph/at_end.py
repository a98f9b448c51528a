"""What only the end of a trace shows of a graph: whose threads they are, what may be a listener."""

from __future__ import annotations

from collections.abc import Collection

from envoyassert.graph.envoys import find_envoys
from envoyassert.graph.kinds import (
    looks_like_client,
    looks_like_hot_restart,
    looks_like_probe,
)
from envoyassert.graph.model import SocketGraph, place_key


def complete(graph: SocketGraph, closed_by_kernel: Collection[str]) -> None:
    """Complete a graph to which every event was applied.

    Args:
        graph: what is completed.
        closed_by_kernel: the kernel's addresses of the sockets whose listening it ended.
    """
    envoys = find_envoys(graph)
    for thread in graph.threads.values():
        thread.of_envoy = thread.pid in envoys
    for socket in graph.sockets:
        socket.is_probe = looks_like_probe(socket)
        argv = graph.processes[socket.born.pid].argv
        socket.is_hot_restart = looks_like_hot_restart(socket, argv)
        socket.is_client = looks_like_client(socket)
        if not socket.is_probe and socket.origin != "accept":
            graph.candidates.append(socket)
            for key in {place_key(place) for place in socket.places}:
                graph.by_place.setdefault(key, []).append(socket)
        closed = socket.kernel_address in closed_by_kernel
        if closed and socket.is_live and socket.stopped_ns is None:
            graph.inconsistencies.append(
                f"the kernel closed the listening socket of {socket.address}, "
                "but no close of its last descriptor was seen"
            )
