"""The state of an Envoy as the kernel would show it at the end of a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from envoyassert.accounts import (
    Network,
    NetworkSocket,
    OtherHolder,
    SocketKind,
    Witness,
    WitnessProcess,
    WitnessRegistration,
    WitnessSocket,
    WitnessThread,
)
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.names import epoll_mask
from envoyassert.option_read_back import FLAGS, SAME
from envoyassert.option_values import OptionValue
from envoyassert.state import trace_of_state
from envoyassert.trace import Trace

_ALWAYS = epoll_mask(("EPOLLERR", "EPOLLHUP"))
#: What a new socket has of the flags that are asked for here.
_USUAL: dict[str, OptionValue] = {
    f"{level}/{name}": 0 for level in ("SOL_SOCKET", "IPPROTO_TCP") for name in sorted(FLAGS[level])
}


def state_at_end(trace: Trace) -> Trace | None:
    """Return what is left of a run when nothing of it was seen; None if Envoy has ended."""
    graph = fold(trace)
    alive = [p for p in graph.processes.values() if p.exited_ns is None]
    if not trace.end.outcome.running or not alive:
        return None
    said = trace.witness
    pids = tuple(process.pid for process in alive)
    return trace_of_state(
        Witness(
            ts_ns=trace.events[-1].ts_ns + 10,
            begun_ns=trace.events[-1].ts_ns + 5,
            sockets=tuple(_sockets(graph, said)),
            registrations=tuple(_registrations(graph, said)),
            pid=next((t.pid for t in graph.workers() if t.pid in pids), pids[0]),
            network=None if said is None else _network(graph, said),
            envoy=None if said is None else said.envoy,
            pids=pids,
            processes=tuple(
                WitnessProcess(
                    process.pid,
                    process.parent if process.parent in pids else None,
                    process.filename,
                    process.argv,
                )
                for process in alive
            ),
            threads=tuple(_threads(graph, pids)),
            holders=tuple(_holders(graph, said)),
        ),
        envoy=trace.header.envoy,
        listeners=trace.header.listeners,
    )


def _is_open(socket: KernelSocket) -> bool:
    return socket.is_live and socket.family in ("AF_INET", "AF_INET6", "AF_UNIX")


def _sockets(graph: SocketGraph, said: Witness | None) -> Iterator[WitnessSocket]:
    for socket in filter(_is_open, graph.sockets):
        listening = bool(socket.listens) and socket.stopped_ns is None
        read = _USUAL | {
            f"{option.level}/{option.name}": seen
            for option in socket.options
            if (seen := _read(str(option.level), str(option.name), option.value)) is not None
        }
        connected = socket.origin in ("accept", "socketpair") or any(
            call.event.call == "connect" for call in socket.calls
        )
        unlike = tuple(key for key, seen in read.items() if seen != _USUAL.get(key))
        kind = SocketKind(
            socket.family, socket.type, socket.protocol, connected and not listening, unlike
        )
        for descriptor in socket.descriptors:
            if descriptor.is_open:
                yield WitnessSocket(
                    descriptor.pid,
                    descriptor.fd,
                    _inode(socket, said),
                    address=socket.address,
                    reuse_port=bool(read.get("SOL_SOCKET/SO_REUSEPORT", 0)),
                    listening=listening,
                    options=read if listening or socket.type == "SOCK_DGRAM" else None,
                    kind=kind,
                )


def _network(graph: SocketGraph, said: Witness) -> Network | None:
    """Return what the trace's account has of the network, and the sockets that it left out."""
    if said.network is None:
        return None
    known = {one.inode for one in said.network.sockets}
    own = {s.inode: s for s in _sockets(graph, said) if s.listening and s.inode not in known}
    more = [
        NetworkSocket("TCP" if one.address and one.address.is_ip else "UNIX", one.address, inode)
        for inode, one in own.items()
    ]
    return replace(said.network, sockets=(*said.network.sockets, *more))


def _inode(socket: KernelSocket, said: Witness | None) -> int:
    """Return the inode that the trace's own account has of a socket, or one by its number."""
    own = {(descriptor.pid, descriptor.fd) for descriptor in socket.descriptors}
    known = [s.inode for s in (said.sockets if said else ()) if (s.pid, s.fd) in own]
    return known[0] if known else 10_000 + socket.number


def _read(level: str, name: str, value: OptionValue) -> OptionValue:
    """Return what is read of an option that was set, None where that is not a matter of course."""
    if not isinstance(value, int):
        return None
    if name in FLAGS.get(level, ()):
        return int(value != 0)
    return value if name in SAME.get(level, ()) else None


def _registrations(graph: SocketGraph, said: Witness | None) -> Iterator[WitnessRegistration]:
    for one in graph.registrations:
        if one.is_live:
            mask = epoll_mask(one.events) | _ALWAYS
            descriptor = one.descriptor
            inode = _inode(descriptor.socket, said)
            yield WitnessRegistration(one.epoll.pid, one.epoll.fd, descriptor.fd, inode, mask)


def _threads(graph: SocketGraph, pids: tuple[int, ...]) -> Iterator[WitnessThread]:
    for thread in graph.threads.values():
        if thread.exited_ns is None and thread.pid in pids:
            waits = [epoll.fd for epoll in graph.epolls if thread in epoll.waiters]
            yield WitnessThread(thread.pid, thread.tid, thread.name, waits[-1] if waits else None)


def _holders(graph: SocketGraph, said: Witness | None) -> Iterator[OtherHolder]:
    for socket in filter(_is_open, graph.sockets):
        if any(handed.is_outside for handed in socket.passes):
            yield OtherHolder(_inode(socket, said), 99, "foreign")
