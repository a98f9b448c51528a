"""Fold events into the socket graph.

The rules are those of the kernel: a descriptor is a number in a process until it is closed, dup
and fork and SCM_RIGHTS make further descriptors of one open file description, and an epoll
registration lives until it is deleted or the description's last descriptor is closed (epoll(7)).
"""

from __future__ import annotations

from collections import Counter

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.graph.completion import complete
from envoyassert.graph.descriptors import DescriptorTables, succeeded
from envoyassert.graph.envoys import told_envoys
from envoyassert.graph.gaps import find_gaps
from envoyassert.graph.kernel_addresses import KernelAddresses
from envoyassert.graph.messages import Messages, sent_first
from envoyassert.graph.model import (
    Call,
    Descriptor,
    Epoll,
    KernelSocket,
    OptionSet,
    Process,
    Registration,
    SocketGraph,
    Thread,
)
from envoyassert.graph.namespaces import Namespaces
from envoyassert.graph.passes import Pass
from envoyassert.graph.socket_files import SocketFiles
from envoyassert.graph.tripwires import is_tripwire
from envoyassert.trace import Trace

#: Calls that only make sense on a socket, so that one on an unknown descriptor is a discovery.
_SOCKET_CALLS = frozenset(
    {"bind", "connect", "listen", "setsockopt", "getsockname", "accept", "accept4", "shutdown"}
)
_FILE_CALLS = frozenset({"unlink", "unlinkat", "renameat2", "chmod", "fchmod", "fchmodat"})
_NOT_A_SOCKET = frozenset({"EBADF", "ENOTSOCK"})


def fold(trace: Trace) -> SocketGraph:
    """Fold a trace into a graph.

    Args:
        trace: events in time order.

    Returns:
        The graph as it is after the last event. Losses and contradictions are in it, never
        raised: what they mean is for the judge to say.
    """
    gaps, contradictions = find_gaps(trace)
    folder = _Folder(births_observed="close" not in trace.header.unobserved)
    folder.graph.gaps = gaps
    folder.graph.inconsistencies += contradictions
    pending = list(gaps)
    for event in sent_first(trace.events):
        while pending and pending[0].start_ns <= event.ts_ns:
            folder.tables.open_gap(pending.pop(0))
        folder.apply(event)
    for gap in pending:
        folder.tables.open_gap(gap)
    folder.graph.told = told_envoys(trace)
    return folder.finish()


class _Folder:
    """State of one fold: the graph, and the descriptor tables of its processes."""

    def __init__(self, births_observed: bool) -> None:
        self.graph = SocketGraph()
        self.tables = DescriptorTables(self.graph)
        self.messages = Messages(self.graph.inconsistencies)
        self.namespaces = Namespaces()
        self.files = SocketFiles()
        self.births_observed = births_observed
        self.ignored: Counter[str] = Counter()
        self.registered: dict[tuple[Epoll, KernelSocket, int], Registration] = {}
        self.addresses = KernelAddresses(self.graph.inconsistencies)

    def apply(self, event: Event) -> None:
        """Apply one event."""
        thread = self._thread(event.tid, event.pid)
        if is_tripwire(event):
            self.graph.tripwires.append(event)
        handler = getattr(self, f"_on_{event.call}", None)
        if handler is not None:
            handler(event, thread)
        elif event.call in _SOCKET_CALLS:
            self._on_socket_call(event, thread)
        elif event.call in _FILE_CALLS:
            self.graph.file_calls.append(event)
            self.files.apply(event)
        self.namespaces.see(event)

    def finish(self) -> SocketGraph:
        """Return the graph with what only the end of the trace can tell."""
        graph = self.graph
        graph.ignored = dict(self.ignored)
        if graph.gaps:
            # A thread whose way back is among the losses would be taken to be where it is not.
            graph.tripwires += self.namespaces.entered
        self.messages.finish()
        complete(graph, self.addresses.closed)
        return graph

    def _thread(self, tid: int, pid: int) -> Thread:
        thread = self.graph.threads.get(tid)
        if thread is None or thread.pid != pid:
            if thread is not None and not self.tables.lossy:
                self.graph.inconsistencies.append(f"thread {tid} belongs to two processes")
            thread = self.graph.threads[tid] = Thread(tid, pid)
            self.graph.processes.setdefault(pid, Process(pid))
        return thread

    def _note(self, event: Event, thread: Thread, descriptor: Descriptor) -> Call:
        call = Call(event, thread, descriptor, self.tables.is_certain(descriptor, event.ts_ns))
        descriptor.socket.calls.append(call)
        return call

    # tasks

    def _on_exec(self, event: Event, thread: Thread) -> None:
        process = self.graph.processes[event.pid]
        process.filename = event.args["filename"]
        process.argv = tuple(event.args["argv"])
        process.executed = True
        thread.names.append((event.ts_ns, event.args["name"]))
        self.tables.close_on_exec(event)

    def _on_fork(self, event: Event, thread: Thread) -> None:
        child_pid, child_tid = event.args["child_pid"], event.args["child_tid"]
        self.graph.threads[child_tid] = Thread(child_tid, child_pid, created_ns=event.ts_ns)
        self.namespaces.fork(event)
        if not event.args["thread"]:
            parent = self.graph.processes[event.pid]
            self.graph.processes[child_pid] = Process(
                child_pid, event.pid, parent.filename, parent.argv, executed=False
            )
            self.tables.fork(event, child_pid)

    def _on_exit(self, event: Event, thread: Thread) -> None:
        thread.exited_ns = event.ts_ns
        process = self.graph.processes[event.pid]
        if event.args["status"] is not None:
            process.status = event.args["status"]
        if event.args["last"]:
            process.exited_ns = event.ts_ns
            self.tables.close_all(event)

    def _on_signal(self, event: Event, thread: Thread) -> None:
        self.graph.processes[event.pid].signal = event.args["number"]

    def _on_rename(self, event: Event, thread: Thread) -> None:
        renamed = self._thread(event.args["tid"], event.pid)
        renamed.names.append((event.ts_ns, event.args["name"]))

    def _on_tcp_state(self, event: Event, thread: Thread) -> None:
        self.addresses.change(event)

    def _on_setns(self, event: Event, thread: Thread) -> None:
        if not self.namespaces.move(event):
            self.graph.tripwires.append(event)

    _on_unshare = _on_setns

    # births and deaths of descriptors

    def _on_socket(self, event: Event, thread: Thread) -> None:
        if succeeded(event):
            self._birth(event, thread, int(event.ret or 0), "socket")

    def _on_socketpair(self, event: Event, thread: Thread) -> None:
        if succeeded(event):
            for fd in event.args["fds"]:
                self._birth(event, thread, fd, "socketpair")

    def _birth(self, event: Event, thread: Thread, fd: int, origin: str) -> Descriptor:
        args = event.args
        socket = KernelSocket(
            number=len(self.graph.sockets),
            family=args.get("family", ""),
            type=str(args.get("type", "")),
            protocol=args.get("protocol", 0),
            nonblock="SOCK_NONBLOCK" in args.get("flags", ()),
            origin=origin,
            born=event,
            netns=self.namespaces.of(event.tid),
        )
        self.graph.sockets.append(socket)
        descriptor = self.tables.open(event, fd, socket, origin)
        if origin in ("socket", "socketpair"):
            self._note(event, thread, descriptor)
        return descriptor

    def _on_close(self, event: Event, thread: Thread) -> None:
        # close(2): the descriptor is gone even if the call reports an error, but for EBADF.
        if event.errno == "EBADF":
            return
        held = self.tables.get(event.pid, event.args["fd"])
        if isinstance(held, Descriptor):
            self._note(event, thread, held)
        elif held is None:
            self.ignored["close"] += 1
            self.namespaces.renumber(event, event.args["fd"])
        self.tables.close(event, event.args["fd"])

    def _on_close_range(self, event: Event, thread: Thread) -> None:
        cloexec_only = 4  # CLOSE_RANGE_CLOEXEC
        if succeeded(event) and not event.args["flags"] & cloexec_only:
            self.tables.close_range(event, event.args["first"], event.args["last"])
            self.namespaces.renumber(event)

    def _on_dup(self, event: Event, thread: Thread) -> None:
        self._copy(event, thread, "dup")

    _on_dup2 = _on_dup
    _on_dup3 = _on_dup

    def _on_fcntl(self, event: Event, thread: Thread) -> None:
        self._copy(event, thread, "fcntl")

    def _copy(self, event: Event, thread: Thread, origin: str) -> None:
        held = self.tables.get(event.pid, event.args["fd"])
        if held is None and not self.births_observed:
            held = self._birth(event, thread, event.args["fd"], "unknown")
        if isinstance(held, Descriptor):
            self._note(event, thread, held)
        if not succeeded(event) or event.ret is None or event.ret == event.args["fd"]:
            return
        self.tables.copy(event, held, event.ret, origin)
        self.namespaces.renumber(event, event.ret)
        if held is None:
            self.ignored[event.call] += 1

    def _on_sendmsg(self, event: Event, thread: Thread) -> None:
        if succeeded(event):
            held = [self.tables.get(event.pid, fd) for fd in event.args["fds"]]
            sockets = [d.socket if isinstance(d, Descriptor) else None for d in held]
            self.messages.send(event, sockets)

    _on_sendmmsg = _on_sendmsg

    def _on_recvmsg(self, event: Event, thread: Thread) -> None:
        fds = event.args["fds"]
        if not fds:
            return
        found = self.messages.receive(event)
        for fd, socket in zip(fds, found or [None] * len(fds), strict=True):
            if socket is not None:
                self.tables.open(event, fd, socket, "scm_rights")
            elif found is None:
                born = self._birth(event, thread, fd, "scm_rights")
                born.socket.passes.append(Pass(None, event))
            self.namespaces.renumber(event, fd)

    # epoll

    def _on_epoll_create1(self, event: Event, thread: Thread) -> None:
        if succeeded(event):
            self.tables.open_epoll(event, int(event.ret or 0))

    def _on_epoll_wait(self, event: Event, thread: Thread) -> None:
        epoll = self._epoll(event)
        if thread not in epoll.waiters:
            epoll.waiters.append(thread)

    def _epoll(self, event: Event) -> Epoll:
        held = self.tables.get(event.pid, event.args["epfd"])
        if isinstance(held, Epoll):
            return held
        if not self.tables.lossy:
            self.graph.inconsistencies.append(
                f"{event.call} on descriptor {event.args['epfd']}, which is no known epoll"
            )
        return self.tables.open_epoll(event, event.args["epfd"])

    def _on_epoll_ctl(self, event: Event, thread: Thread) -> None:
        held = self.tables.get(event.pid, event.args["fd"])
        if not isinstance(held, Descriptor):
            self.ignored["epoll_ctl"] += 1
            return
        call = self._note(event, thread, held)
        if not succeeded(event):
            return
        epoll = self._epoll(event)
        operation = event.args["op"]
        # The kernel's key is the open file description and the number, whoever closed and made
        # that number anew in the meantime.
        key = (epoll, held.socket, held.fd)
        before = self.registered.pop(key, None)
        if before is not None and before.is_live:
            before.until_ns = event.ts_ns
        if operation in ("EPOLL_CTL_ADD", "EPOLL_CTL_MOD"):
            if event.fault:
                self.graph.inconsistencies.append("the mask of an epoll_ctl could not be read")
            certain = call.certain and self.tables.is_epoll_certain(epoll)
            events = tuple(event.args["events"])
            added = Registration(epoll, held, events, call, event.ts_ns, certain=certain)
            self.registered[key] = added
            for holder in (held, epoll, self.graph):
                holder.registrations.append(added)

    # calls on sockets

    def _on_socket_call(self, event: Event, thread: Thread) -> None:
        held = self.tables.get(event.pid, event.args["fd"])
        if not isinstance(held, Descriptor):
            if event.errno in _NOT_A_SOCKET:
                self.ignored[event.call] += 1
                return
            if self.births_observed and not self.tables.lossy:
                self.graph.inconsistencies.append(
                    f"{event.call} on descriptor {event.args['fd']}, whose birth was not seen"
                )
            held = self._birth(event, thread, event.args["fd"], "unknown")
        call = self._note(event, thread, held)
        socket = held.socket
        if event.call == "bind":
            self._bind(event, call, socket)
        elif event.call in ("accept", "accept4") and event.ok:
            self._accept(event, thread, socket)
        elif succeeded(event):
            self._other(event, call, socket)

    def _bind(self, event: Event, call: Call, socket: KernelSocket) -> None:
        address = event.args["address"]
        if address is None and event.errno != "EFAULT":
            self.graph.inconsistencies.append("the address of a bind could not be read")
        if not succeeded(event):
            socket.failed_binds.append(call)
            return
        if address is None:
            return
        if socket.binds and call.descriptor is not None:
            # Only an unbound socket can be bound: between the two its number was given out anew.
            if self.births_observed and not self.tables.lossy:
                self.graph.inconsistencies.append(
                    f"bind on descriptor {event.args['fd']}, which was bound already"
                )
            reborn = self._birth(event, call.thread, call.descriptor.fd, "unknown")
            call = self._note(event, call.thread, reborn)
            socket = reborn.socket
        socket.binds.append(call)
        if address.path:
            self.files.bound(event, socket, address.path)
        socket.requested = socket.address = socket.placed(address)
        socket.family = socket.family or address.family
        if not self.births_observed:
            socket.type = socket.type or "SOCK_STREAM"

    def _accept(self, event: Event, thread: Thread, listener: KernelSocket) -> None:
        descriptor = self._birth(event, thread, int(event.ret or 0), "accept")
        accepted = descriptor.socket
        accepted.family, accepted.type = listener.family, listener.type
        accepted.protocol, accepted.accepted_from = listener.protocol, listener
        accepted.netns = listener.netns

    def _other(self, event: Event, call: Call, socket: KernelSocket) -> None:
        if event.call == "setsockopt":
            phase = "listening" if socket.listens else "bound" if socket.binds else "before_bind"
            args = event.args
            if args["value"] is None:
                self.graph.inconsistencies.append(f"the value of {args['name']} could not be read")
            socket.options.append(
                OptionSet(args["level"], args["name"], args["value"], phase, call)
            )
        elif event.call == "shutdown":
            # Where a socket listens, the end of receiving is that of listening
            # (Linux, net/ipv4/af_inet.c, inet_shutdown()).
            if socket.listens and event.args["how"] in ("SHUT_RD", "SHUT_RDWR"):
                socket.stopped_ns = event.ts_ns
        elif event.call == "connect" and socket.type == "SOCK_DGRAM":
            peer: Address | None = event.args["address"]
            # AF_UNSPEC dissolves the association (connect(2)).
            socket.peer = None if peer is None or peer.family == "AF_UNSPEC" else peer
        elif event.call == "listen":
            socket.listens.append(call)
            socket.stopped_ns = None
            self.addresses.settle(event, socket)
        elif event.call == "getsockname" and event.args["address"] is not None:
            learned = event.args["address"]
            asked = socket.requested
            # Of a socket that came bound from elsewhere this is the only thing that tells.
            came_bound = asked is None and socket.origin == "scm_rights"
            if came_bound or (asked is not None and asked.port == 0 and learned.is_ip):
                socket.address = socket.placed(learned)
                socket.family = socket.family or learned.family
