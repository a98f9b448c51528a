"""Fold events into the socket graph.

The rules are those of the kernel: a descriptor is a number in a process until it is closed, dup
and fork and SCM_RIGHTS make further descriptors of one open file description, and an epoll
registration lives until it is deleted or the description's last descriptor is closed (epoll(7)).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from envoyassert.calls import CALLS
from envoyassert.calls.descriptors import CLOSE_RANGE, DUP, FCNTL, RECVMSG, SENDMSG
from envoyassert.calls.row import Effect
from envoyassert.calls.sockets import BIND, CONNECT, GETSOCKNAME, SETSOCKOPT, SHUTDOWN, SOCKETPAIR
from envoyassert.calls.tasks import EXEC, EXIT, FORK, RENAME, SIGNAL
from envoyassert.collection import collection_paused
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.graph.descriptor_tables import DescriptorTables, succeeded
from envoyassert.graph.gaps import find_gaps
from envoyassert.graph.kernel_addresses import KernelAddresses
from envoyassert.graph.kinds import complete, declared_envoys
from envoyassert.graph.messages import Messages, sent_first
from envoyassert.graph.model import (
    Call,
    Descriptor,
    Gap,
    KernelSocket,
    OptionSet,
    Process,
    SocketGraph,
    Thread,
    more,
)
from envoyassert.graph.namespaces import Namespaces
from envoyassert.graph.passes import Pass
from envoyassert.graph.registrations import Registrations
from envoyassert.graph.socket_files import SocketFiles
from envoyassert.trace import Trace

_NOT_A_SOCKET = frozenset({"EBADF", "ENOTSOCK"})


@collection_paused(cycles=True)
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
    folder.apply(sent_first(trace.events), gaps)
    folder.graph.declared = declared_envoys(trace)
    folder.graph.accounts, folder.graph.phases = tuple(trace.accounts()), trace.phases
    return folder.finish()


class _Folder:
    """State of one fold: the graph, and the descriptor tables of its processes."""

    def __init__(self, births_observed: bool) -> None:
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self.graph = SocketGraph(calls=self.calls)
        self.tables = DescriptorTables(self.graph)
        self.messages = Messages(self.graph.inconsistencies)
        self.namespaces = Namespaces()
        self.files = SocketFiles()
        self.births_observed = births_observed
        self.ignored: Counter[str] = Counter()
        self.epolls = Registrations(self.graph, self.tables)
        self.addresses = KernelAddresses(self.graph.inconsistencies)
        on_socket: Mapping[Effect, Callable[[Event, Call, KernelSocket], None]] = {
            Effect.BIND: self._bind,
            Effect.CONNECT: self._connect,
            Effect.LISTEN: self._listen,
            Effect.ACCEPT: self._accept,
            Effect.SET_OPTION: self._set_option,
            Effect.SHUT_DOWN: self._shut_down,
            Effect.LEARN_ADDRESS: self._learn_address,
        }
        handlers: Mapping[Effect, Callable[[Event, Thread], None] | None] = {
            Effect.NONE: None,
            Effect.EXEC: self._exec,
            Effect.FORK: self._fork,
            Effect.EXIT: self._exit,
            Effect.SIGNAL: self._signal,
            Effect.RENAME_THREAD: self._rename,
            Effect.TCP_STATE: self._tcp_state,
            Effect.CHANGE_NAMESPACE: self._change_namespace,
            Effect.MAKE_SOCKET: self._make_socket,
            Effect.MAKE_PAIR: self._make_pair,
            Effect.ON_PATH: self._path_call,
            Effect.COPY: self._copy,
            Effect.CLOSE: self._close,
            Effect.CLOSE_RANGE: self._close_range,
            Effect.SEND: self._send,
            Effect.RECEIVE: self._receive,
            Effect.MAKE_EPOLL: self._make_epoll,
            Effect.WAIT_EPOLL: self._wait,
            Effect.REGISTER: self._register,
            **{effect: partial(self._socket_call, then) for effect, then in on_socket.items()},
        }
        self.handlers = {name: (row.hides, handlers[row.effect]) for name, row in CALLS.items()}

    def apply(self, events: Iterable[Event], gaps: Sequence[Gap]) -> None:
        """Apply events, and losses in the order of their beginning, each at its time."""
        threads, handlers, seen_ns = self.graph.threads, self.handlers, self.namespaces.seen_ns
        pending = list(gaps)
        for event in events:
            while pending and pending[0].start_ns <= event.ts_ns:
                self.tables.open_gap(pending.pop(0))
            tid = event.tid
            thread = threads.get(tid)
            if thread is None or thread.pid != event.pid:
                thread = self._thread(tid, event.pid)
            hides, handler = handlers[event.call]
            if hides is not None and hides(event):
                self.graph.tripwires.append(event)
            if handler is not None:
                handler(event, thread)
            seen_ns[tid] = event.ts_ns
        for gap in pending:
            self.tables.open_gap(gap)

    def finish(self) -> SocketGraph:
        """Return the graph with what only the end of the trace can show."""
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
                self.graph.inconsistencies.append(Fact("two_processes", tid=tid))
            thread = self.graph.threads[tid] = Thread(tid, pid)
            self.graph.processes.setdefault(pid, Process(pid))
        return thread

    def _note(self, event: Event, thread: Thread, descriptor: Descriptor) -> Call:
        tainted_ns = descriptor.tainted_ns
        call = Call(event, thread, descriptor, tainted_ns is None or event.ts_ns <= tainted_ns)
        descriptor.socket.calls.append(call)
        self.calls[event.call].append(call)
        return call

    # tasks

    def _exec(self, event: Event, thread: Thread) -> None:
        args = EXEC.of(event)
        process = self.graph.processes[event.pid]
        process.filename = args["filename"] or ""
        process.argv = tuple(args["argv"])
        process.executed = True
        thread.names.append((event.ts_ns, args["name"]))
        self.tables.close_on_exec(event)

    def _fork(self, event: Event, thread: Thread) -> None:
        args = FORK.of(event)
        child_pid, child_tid = args["child_pid"], args["child_tid"]
        self.graph.threads[child_tid] = Thread(child_tid, child_pid, created_ns=event.ts_ns)
        self.namespaces.fork(event)
        if not args["thread"]:
            parent = self.graph.processes[event.pid]
            self.graph.processes[child_pid] = Process(
                child_pid, event.pid, parent.filename, parent.argv, executed=False
            )
            self.tables.fork(event, child_pid)

    def _exit(self, event: Event, thread: Thread) -> None:
        args = EXIT.of(event)
        thread.exited_ns = event.ts_ns
        process = self.graph.processes[event.pid]
        if args["status"] is not None:
            process.status = args["status"]
        if args["last"]:
            process.exited_ns = event.ts_ns
            self.tables.close_all(event)

    def _signal(self, event: Event, thread: Thread) -> None:
        args = SIGNAL.of(event)
        self.graph.processes[event.pid].signal = args["number"]

    def _rename(self, event: Event, thread: Thread) -> None:
        args = RENAME.of(event)
        renamed = self._thread(args["tid"], event.pid)
        renamed.names.append((event.ts_ns, args["name"]))

    def _tcp_state(self, event: Event, thread: Thread) -> None:
        self.addresses.change(event)

    def _change_namespace(self, event: Event, thread: Thread) -> None:
        if not self.namespaces.move(event):
            self.graph.tripwires.append(event)

    # births and deaths of descriptors

    def _make_socket(self, event: Event, thread: Thread) -> None:
        if succeeded(event):
            self._birth(event, thread, int(event.ret or 0), "socket")

    def _make_pair(self, event: Event, thread: Thread) -> None:
        args = SOCKETPAIR.of(event)
        if succeeded(event):
            for fd in args["fds"]:
                self._birth(event, thread, fd, "socketpair")

    def _birth(self, event: Event, thread: Thread, fd: int, origin: str) -> Descriptor:
        args = event.args
        socket = KernelSocket(
            len(self.graph.sockets),
            args.get("family", ""),
            str(args.get("type", "")),
            args.get("protocol", 0),
            "SOCK_NONBLOCK" in args.get("flags", ()),
            origin,
            event,
            netns=self.namespaces.of(event.tid),
        )
        self.graph.sockets.append(socket)
        descriptor = self.tables.open(event, fd, socket, origin)
        if origin in ("socket", "socketpair"):
            self._note(event, thread, descriptor)
        return descriptor

    def _close(self, event: Event, thread: Thread) -> None:
        # close(2): the descriptor is gone even if the call reports an error, but for EBADF.
        if event.ret and event.errno == "EBADF":
            return
        fd = event.args["fd"]
        held = self.tables.now[event.pid].get(fd)
        if isinstance(held, Descriptor):
            self._note(event, thread, held)
        elif held is None:
            self.ignored["close"] += 1
            self.namespaces.renumber(event, fd)
        self.tables.close(event, fd)

    def _close_range(self, event: Event, thread: Thread) -> None:
        args = CLOSE_RANGE.of(event)
        cloexec_only = 4  # CLOSE_RANGE_CLOEXEC
        if succeeded(event) and not args["flags"] & cloexec_only:
            self.tables.close_range(event, args["first"], args["last"])
            self.namespaces.renumber(event)

    def _copy(self, event: Event, thread: Thread) -> None:
        args = DUP.of(event)
        held = self.tables.now[event.pid].get(args["fd"])
        if held is None and not self.births_observed:
            held = self._birth(event, thread, args["fd"], "unknown")
        if isinstance(held, Descriptor):
            self._note(event, thread, held)
        if not succeeded(event) or event.ret is None or event.ret == args["fd"]:
            return
        origin = "fcntl" if event.call == FCNTL.name else "dup"
        self.tables.copy(event, held, event.ret, origin)
        self.namespaces.renumber(event, event.ret)
        if held is None:
            self.ignored[event.call] += 1

    def _send(self, event: Event, thread: Thread) -> None:
        args = SENDMSG.of(event)
        if succeeded(event):
            held = [self.tables.now[event.pid].get(fd) for fd in args["fds"]]
            sockets = [d.socket if isinstance(d, Descriptor) else None for d in held]
            self.messages.send(event, sockets)

    def _receive(self, event: Event, thread: Thread) -> None:
        fds = RECVMSG.of(event)["fds"]
        found = self.messages.receive(event)
        for fd, socket in zip(fds, found or [None] * len(fds), strict=True):
            if socket is not None:
                self.tables.open(event, fd, socket, "scm_rights")
            elif found is None:
                born = self._birth(event, thread, fd, "scm_rights")
                born.socket.passes = more(born.socket.passes, Pass(None, event))
            self.namespaces.renumber(event, fd)

    # epoll

    def _make_epoll(self, event: Event, thread: Thread) -> None:
        if succeeded(event):
            self.tables.open_epoll(event, int(event.ret or 0))

    def _wait(self, event: Event, thread: Thread) -> None:
        self.epolls.wait(event, thread)

    def _register(self, event: Event, thread: Thread) -> None:
        held = self.tables.now[event.pid].get(event.args["fd"])
        if not isinstance(held, Descriptor):
            self.ignored["epoll_ctl"] += 1
            return
        call = self._note(event, thread, held)
        if not succeeded(event):
            return
        self.epolls.register(event, call, held)

    # calls on the files of sockets, and on sockets

    def _path_call(self, event: Event, thread: Thread) -> None:
        self.graph.file_calls.append(event)
        self.files.apply(event)

    def _socket_call(
        self, then: Callable[[Event, Call, KernelSocket], None], event: Event, thread: Thread
    ) -> None:
        held = self.tables.now[event.pid].get(event.args["fd"])
        if not isinstance(held, Descriptor):
            if event.errno in _NOT_A_SOCKET:
                self.ignored[event.call] += 1
                return
            if self.births_observed and not self.tables.lossy:
                self.graph.inconsistencies.append(
                    Fact("birth_unseen", call=event.call, fd=event.args["fd"])
                )
            held = self._birth(event, thread, event.args["fd"], "unknown")
        call = self._note(event, thread, held)
        then(event, call, held.socket)

    def _bind(self, event: Event, call: Call, socket: KernelSocket) -> None:
        args = BIND.of(event)
        address = args["address"]
        if address is None and event.errno != "EFAULT":
            self.graph.inconsistencies.append(Fact("bind_unread"))
        if not succeeded(event):
            socket.failed_binds = more(socket.failed_binds, call)
            return
        if address is None:
            return
        if socket.binds and call.descriptor is not None:
            # Only an unbound socket can be bound: between the two its number was given out again.
            if self.births_observed and not self.tables.lossy:
                self.graph.inconsistencies.append(Fact("bound_already", fd=args["fd"]))
            reborn = self._birth(event, call.thread, call.descriptor.fd, "unknown")
            call = self._note(event, call.thread, reborn)
            socket = reborn.socket
        socket.binds = more(socket.binds, call)
        if address.path:
            self.files.bound(event, socket, address.path)
        socket.requested = socket.address = socket.placed(address)
        socket.family = socket.family or address.family
        if not self.births_observed:
            socket.type = socket.type or "SOCK_STREAM"

    def _accept(self, event: Event, call: Call, listener: KernelSocket) -> None:
        fd = event.ret
        if fd is None or fd < 0:
            return
        sockets = self.graph.sockets
        accepted = KernelSocket(
            len(sockets),
            listener.family,
            listener.type,
            listener.protocol,
            "SOCK_NONBLOCK" in event.args.get("flags", ()),
            "accept",
            event,
        )
        accepted.accepted_from = listener
        accepted.netns = listener.netns
        sockets.append(accepted)
        self.tables.open(event, fd, accepted, "accept")

    def _set_option(self, event: Event, call: Call, socket: KernelSocket) -> None:
        if not succeeded(event):
            return
        args = SETSOCKOPT.of(event)
        phase = "listening" if socket.listens else "bound" if socket.binds else "before_bind"
        if args["value"] is None:
            self.graph.inconsistencies.append(Fact("option_unread", name=args["name"]))
        option = OptionSet(args["level"], args["name"], args["value"], phase, call)
        socket.options = more(socket.options, option)

    def _shut_down(self, event: Event, _call: Call, socket: KernelSocket) -> None:
        # Where a socket listens, the end of receiving is that of listening
        # (Linux, net/ipv4/af_inet.c, inet_shutdown()).
        receiving = SHUTDOWN.of(event)["how"] in ("SHUT_RD", "SHUT_RDWR")
        if succeeded(event) and socket.listens and receiving:
            socket.stopped_ns = event.ts_ns

    def _connect(self, event: Event, _call: Call, socket: KernelSocket) -> None:
        if succeeded(event) and socket.type == "SOCK_DGRAM":
            peer = CONNECT.of(event)["address"]
            # AF_UNSPEC dissolves the association (connect(2)).
            socket.peer = None if peer is None or peer.family == "AF_UNSPEC" else peer

    def _listen(self, event: Event, call: Call, socket: KernelSocket) -> None:
        if succeeded(event):
            socket.listens = more(socket.listens, call)
            socket.stopped_ns = None
            self.addresses.settle(event, socket)

    def _learn_address(self, event: Event, _call: Call, socket: KernelSocket) -> None:
        learned = GETSOCKNAME.of(event)["address"]
        if learned is None or not succeeded(event):
            return
        asked = socket.requested
        # Of a socket that came bound from elsewhere this is the only evidence.
        came_bound = asked is None and socket.origin == "scm_rights"
        if came_bound or (asked is not None and asked.port == 0 and learned.is_ip):
            socket.address = socket.placed(learned)
            socket.family = socket.family or learned.family
