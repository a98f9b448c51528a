"""The kernel's own account against the graph, at the same instant."""

from __future__ import annotations

from collections import defaultdict

from envoyassert.graph.model import Descriptor, KernelSocket, SocketGraph
from envoyassert.judge.shape import reuse_port_before_bind
from envoyassert.trace import Witness, WitnessSocket


def disagreements(witness: Witness, graph: SocketGraph) -> list[str]:
    """Compare listening and bound datagram sockets with what the kernel shows.

    Connections come and go while the account is taken, so only sockets that listen, by either
    side's word, are compared: which descriptors there are, which of them are one socket, the
    local address, SO_REUSEPORT, LISTEN, and the epoll registrations.
    """
    found: list[str] = []
    ours = {
        (descriptor.pid, descriptor.fd): descriptor
        for socket in graph.listening()
        for descriptor in socket.descriptors
        if _open_at(descriptor, witness.ts_ns)
    }
    theirs = {(entry.pid, entry.fd): entry for entry in witness.sockets}
    pids = {entry.pid for entry in witness.sockets}
    for key, descriptor in ours.items():
        entry = theirs.get(key)
        if entry is None:
            if key[0] in pids:
                found.append(f"the kernel shows no socket at descriptor {key[1]}")
        else:
            found += _compare(descriptor.socket, entry)
    for key, entry in theirs.items():
        if entry.listening and key not in ours:
            found.append(f"descriptor {key[1]} listens on {entry.address}, unknown to the trace")
    if ours and not theirs and len(graph.processes) == 1:
        found.append("the kernel shows no socket at all")
    found += _identities(ours, theirs)
    found += _registrations(witness, graph, ours)
    return found


def _open_at(descriptor: Descriptor, ts_ns: int) -> bool:
    if descriptor.opened.ts_ns > ts_ns:
        return False
    return descriptor.closed_ns is None or descriptor.closed_ns > ts_ns


def _compare(socket: KernelSocket, entry: WitnessSocket) -> list[str]:
    found = []
    # accept(2) on MPTCP and unbound ports are the kernel's affair; only plain facts are compared.
    known = socket.address if socket.address is None or socket.address.port != 0 else None
    if known is not None and entry.address != known:
        found.append(f"descriptor {entry.fd} is bound to {entry.address}, the trace says {known}")
    listens = bool(socket.listens) and socket.stopped_ns is None
    if entry.listening is not None and entry.listening != listens:
        state = "listens" if entry.listening else "does not listen"
        found.append(f"descriptor {entry.fd} {state}, against the trace")
    is_ip = socket.family in ("AF_INET", "AF_INET6")
    if is_ip and entry.reuse_port is not None and socket.origin == "socket":
        values = [o.value for o in socket.options if o.name == "SO_REUSEPORT"]
        if entry.reuse_port != bool(values and values[-1]):
            found.append(
                f"descriptor {entry.fd} has SO_REUSEPORT {int(entry.reuse_port)}, the trace says "
                f"{int(reuse_port_before_bind(socket))}"
            )
    return found


def _identities(
    ours: dict[tuple[int, int], Descriptor], theirs: dict[tuple[int, int], WitnessSocket]
) -> list[str]:
    by_inode: dict[int, set[KernelSocket]] = defaultdict(set)
    by_socket: dict[KernelSocket, set[int]] = defaultdict(set)
    for key, descriptor in ours.items():
        if key in theirs:
            by_inode[theirs[key].inode].add(descriptor.socket)
            by_socket[descriptor.socket].add(theirs[key].inode)
    split = [s for s, inodes in by_socket.items() if len(inodes) > 1]
    merged = [inode for inode, sockets in by_inode.items() if len(sockets) > 1]
    return [
        *(f"descriptors of {s.address} are several sockets for the kernel" for s in split),
        *(f"the kernel has one socket (inode {inode}) where the trace has two" for inode in merged),
    ]


def _registrations(
    witness: Witness, graph: SocketGraph, ours: dict[tuple[int, int], Descriptor]
) -> list[str]:
    shown = {(r.pid, r.epfd, r.fd) for r in witness.registrations if (r.pid, r.fd) in ours}
    kept = {
        (r.epoll.pid, r.epoll.fd, r.descriptor.fd)
        for r in graph.registrations
        if r.since_ns <= witness.ts_ns
        and (r.until_ns is None or r.until_ns > witness.ts_ns)
        and (r.descriptor.pid, r.descriptor.fd) in ours
    }
    pids = {entry.pid for entry in witness.sockets}
    return [
        *(f"the kernel has descriptor {fd} in epoll {ep}" for _, ep, fd in sorted(shown - kept)),
        *(
            f"the kernel has descriptor {fd} not in epoll {ep}"
            for pid, ep, fd in sorted(kept - shown)
            if pid in pids
        ),
    ]
