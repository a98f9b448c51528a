"""When an Envoy has come up, from what was seen of it alone: its sockets are served and stay so."""

from __future__ import annotations

from collections.abc import Hashable

from envoyassert.accounts import EnvoyListener
from envoyassert.graph.model import SocketGraph
from envoyassert.trace import ListenerRecord


def shape_of(graph: SocketGraph) -> Hashable:
    """Return what is compared to see whether anything has changed of the listening sockets.

    Connections come and go, and change nothing of it.
    """
    return tuple(
        (
            socket.number,
            socket.is_live,
            tuple((one.pid, one.fd, one.is_open) for one in socket.descriptors),
            tuple(sorted(thread.tid for thread in graph.servers_of(socket))),
        )
        for socket in graph.listening()
    )


def is_served(graph: SocketGraph) -> bool:
    """Return whether some thread waits on each socket that listens.

    Of Envoy's own sockets for hot restart one is there for the next Envoy alone.
    """
    return all(
        graph.servers_of(socket)
        for socket in graph.listening()
        if socket.is_live and not socket.is_hot_restart
    )


def listener_record(listener: EnvoyListener, graph: SocketGraph) -> ListenerRecord:
    """Return the record of a listener that Envoy lists and its config does not have.

    Args:
        listener: what Envoy says of it, which is not its protocol.
        graph: the sockets: one that has its first address has its protocol.
    """
    protocol = "TCP"
    for address in listener.addresses[:1]:
        protocol = "TCP" if address.is_ip else "UNIX"
        found = {socket.protocol_name for socket in graph.listening() if socket.address == address}
        if found == {"UDP"}:
            protocol = "UDP"
    return ListenerRecord(listener.name, protocol, listener.addresses, "lds")
