"""The kernel's own account against the graph, as far as nothing changed while it was taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from envoyassert.accounts import NetworkSocket, Witness, WitnessSocket
from envoyassert.graph.model import Descriptor, KernelSocket, SocketGraph
from envoyassert.judge.settled import Settled
from envoyassert.trace import Trace

_UNSIGNED = 0xFFFFFFFF
#: What sock_diag is asked for, and how the graph calls it.
_DIAGNOSED = ("TCP", "UDP", "UNIX")

Numbers = tuple[int, int]


def disagreements(trace: Trace, witness: Witness, graph: SocketGraph) -> list[str]:
    """Compare listening and bound datagram sockets with what the kernel shows.

    Connections come and go while the account is taken, so only sockets that listen, by either
    side's word, are compared: which descriptors there are, which of them are one socket, the
    local address, SO_REUSEPORT, LISTEN, the epoll registrations, and what the network namespace
    has of them, with the backlog.
    """
    begun_ns = witness.ts_ns if witness.begun_ns is None else witness.begun_ns
    settled = Settled(trace, graph, begun_ns, witness.ts_ns)
    return _Comparison(witness, settled).found()


def strangers(witness: Witness) -> list[NetworkSocket]:
    """Return what takes clients in the network namespace and is not the process's."""
    own = {entry.inode for entry in witness.sockets}
    found = [] if witness.network is None else witness.network.sockets
    return [socket for socket in found if socket.inode not in own]


def name_of_stranger(trace: Trace, stranger: NetworkSocket) -> str:
    """Return where a stranger is, marked if a step of the scenario put it there."""
    put = trace.phases[-1].strangers if trace.phases else ()
    mark = " (put there by the scenario)" if stranger.inode in {one.inode for one in put} else ""
    return f"{stranger.address}{mark}"


def effective_backlog(requested: int, somaxconn: int) -> int:
    """Return what the kernel makes of a backlog (Linux, net/socket.c, __sys_listen())."""
    return min(requested & _UNSIGNED, somaxconn)


class _Comparison:
    """One account against one graph."""

    def __init__(self, witness: Witness, settled: Settled) -> None:
        self.witness = witness
        self.settled = settled
        self.ours = settled.descriptors()
        self.theirs = {(entry.pid, entry.fd): entry for entry in witness.sockets}
        self.pids = {entry.pid for entry in witness.sockets}

    def found(self) -> list[str]:
        """Return what the two sides disagree about, in words."""
        return [
            *self._descriptors(),
            *self._identities(),
            *self._registrations(),
            *self._network(),
        ]

    def _descriptors(self) -> Iterator[str]:
        for key, descriptor in self.ours.items():
            entry = self.theirs.get(key)
            if not self.settled.is_settled(descriptor.socket):
                continue
            if entry is not None:
                yield from self._socket(descriptor.socket, entry)
            elif key[0] in self.pids:
                yield (
                    f"the kernel shows no socket at descriptor {key[1]}, the trace has "
                    f"{_name(descriptor.socket)} there"
                )
        for key, entry in self.theirs.items():
            if entry.listening and key not in self.ours and not self.settled.is_moving(*key):
                yield f"descriptor {key[1]} listens on {entry.address}, unknown to the trace"
        lasting = [d for d in self.ours.values() if self.settled.is_settled(d.socket)]
        if lasting and not self.theirs and len(self.settled.graph.processes) == 1:
            yield f"the kernel shows no socket at all, the trace has {len(lasting)}"

    def _socket(self, socket: KernelSocket, entry: WitnessSocket) -> Iterator[str]:
        # accept(2) on MPTCP and unbound ports are the kernel's affair; only plain facts are told.
        known = socket.address if socket.address is None or socket.address.port != 0 else None
        if known is not None and entry.address != known:
            yield f"descriptor {entry.fd} is bound to {entry.address}, the trace says {known}"
        if entry.listening is not None and entry.listening != self.settled.is_listening(socket):
            states = ("does not listen", "listens")
            yield (
                f"descriptor {entry.fd} {states[entry.listening]}, against the trace: it "
                f"{states[not entry.listening]}"
            )
        is_ip = socket.family in ("AF_INET", "AF_INET6")
        if is_ip and entry.reuse_port is not None and socket.origin == "socket":
            ours = self.settled.reuse_port(socket)
            if entry.reuse_port != ours:
                yield (
                    f"descriptor {entry.fd} has SO_REUSEPORT {int(entry.reuse_port)}, the trace "
                    f"says {int(ours)}"
                )

    def _identities(self) -> Iterator[str]:
        by_inode: dict[int, set[KernelSocket]] = defaultdict(set)
        by_socket: dict[KernelSocket, set[int]] = defaultdict(set)
        for key, descriptor in self.ours.items():
            if key in self.theirs and self.settled.is_settled(descriptor.socket):
                by_inode[self.theirs[key].inode].add(descriptor.socket)
                by_socket[descriptor.socket].add(self.theirs[key].inode)
        for socket, inodes in by_socket.items():
            if len(inodes) > 1:
                yield (
                    f"descriptors of {_name(socket)} are several sockets for the kernel (inodes "
                    f"{', '.join(map(str, sorted(inodes)))}), the trace has one"
                )
        for inode, sockets in by_inode.items():
            if len(sockets) > 1:
                yield f"the kernel has one socket (inode {inode}) where the trace has two"

    def _registrations(self) -> Iterator[str]:
        ours = {
            key
            for key, descriptor in self.ours.items()
            if self.settled.is_settled(descriptor.socket)
        }
        shown = {(r.pid, r.epfd, r.fd) for r in self.witness.registrations if (r.pid, r.fd) in ours}
        ts_ns = self.witness.ts_ns
        kept = {
            (r.epoll.pid, r.epoll.fd, r.descriptor.fd)
            for r in self.settled.graph.registrations
            if r.since_ns <= ts_ns
            and (r.until_ns is None or r.until_ns > ts_ns)
            and (r.descriptor.pid, r.descriptor.fd) in ours
        }
        for _, epfd, fd in sorted(shown - kept):
            yield f"the kernel has descriptor {fd} in epoll {epfd}, the trace has not"
        for pid, epfd, fd in sorted(kept - shown):
            if pid in self.pids:
                yield f"the kernel has descriptor {fd} not in epoll {epfd}, the trace has"

    def _network(self) -> Iterator[str]:
        """Compare with what sock_diag shows of the namespace, joined by inode."""
        network = self.witness.network
        if network is None or network.error:
            return
        shown = {entry.inode: entry for entry in network.sockets}
        compared: dict[int, tuple[WitnessSocket, Descriptor]] = {}
        for key, descriptor in self.ours.items():
            if key in self.theirs and self.settled.is_settled(descriptor.socket):
                compared.setdefault(self.theirs[key].inode, (self.theirs[key], descriptor))
        for inode, (entry, descriptor) in compared.items():
            socket = descriptor.socket
            listens = self.settled.is_listening(socket)
            if socket.protocol_name not in _DIAGNOSED or not (
                listens or socket.type == "SOCK_DGRAM"
            ):
                continue
            found = shown.get(inode)
            if found is not None:
                yield from self._diagnosed(entry, found, socket, network.limit_of(socket.netns))
            elif listens:
                yield f"{_name(socket)} listens by the trace, sock_diag does not list it"

    def _diagnosed(
        self,
        entry: WitnessSocket,
        found: NetworkSocket,
        socket: KernelSocket,
        somaxconn: int | None,
    ) -> Iterator[str]:
        if found.address != entry.address:
            yield (
                f"sock_diag has inode {found.inode} at {found.address}, getsockname() at "
                f"{entry.address}"
            )
        if None not in (found.cookie, entry.cookie) and found.cookie != entry.cookie:
            yield (
                f"{_name(socket)} has the cookie {found.cookie} by sock_diag, {entry.cookie} by "
                "getsockopt()"
            )
        requested = self.settled.backlog(socket)
        if found.backlog is None or requested is None or somaxconn is None:
            return
        effective = effective_backlog(requested, somaxconn)
        if found.backlog != effective:
            yield (
                f"the kernel has the backlog {found.backlog} for {_name(socket)}, the trace "
                f"{effective} (listen() with {requested}, somaxconn {somaxconn})"
            )


def _name(socket: KernelSocket) -> str:
    return str(socket.address) if socket.address is not None else f"socket #{socket.number}"
