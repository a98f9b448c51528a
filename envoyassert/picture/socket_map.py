"""The map of a run's sockets as they were at its end, or at the end of a phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.calls.row import address_text
from envoyassert.graph.kinds import find_envoys
from envoyassert.graph.model import (
    Descriptor,
    Epoll,
    KernelSocket,
    OptionSet,
    SocketGraph,
    Thread,
    place_key,
)
from envoyassert.judge.scopes import listeners_over
from envoyassert.judge.selection import AddressSockets, means, parts_of, select
from envoyassert.judge.target import reuse_port_before_bind, serving_of, shape_of
from envoyassert.judge.values import SINGLE
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.naming import FIRST, ListenerRecord
from envoyassert.option_values import value_text
from envoyassert.picture.map_parts import (
    HOT_RESTART,
    UNLISTED,
    MapDescriptor,
    MapEpoll,
    MapListener,
    MapOption,
    MapSocket,
    MapThread,
    Mark,
    SocketMap,
)
from envoyassert.report.call import render_call, thread_label
from envoyassert.scenario.selector import Selector
from envoyassert.trace import Trace


def socket_id(socket: KernelSocket) -> str:
    """Return the id of a kernel socket."""
    return f"s{socket.number}"


def thread_id(tid: int) -> str:
    """Return the id of a thread."""
    return f"t{tid}"


def descriptor_id(descriptor: Descriptor) -> str:
    """Return the id of a descriptor."""
    return f"d{descriptor.pid}.{descriptor.fd}.{descriptor.generation}"


def epoll_id(epoll: Epoll) -> str:
    """Return the id of an epoll."""
    return f"e{epoll.pid}.{epoll.fd}.{epoll.generation}"


def process_names(trace: Trace, graph: SocketGraph) -> dict[int, str]:
    """Return what each process is called; {} where there is one alone.

    Args:
        trace: the trace; its phases have the names of several Envoys.
        graph: what it folds into.
    """
    if len(graph.processes) < 2:
        return {}
    names = {pid: f"process {pid}" for pid in graph.processes}
    envoys = [pid for pid in graph.processes if pid in find_envoys(graph)]
    names |= {pid: f"Envoy {pid}" for pid in envoys}
    if len(envoys) > 1:
        members = {m.pid: m.name for phase in trace.phases for m in phase.envoys}
        names |= {
            pid: f"{'Envoy' if name == FIRST else name} {pid}"
            for pid, name in members.items()
            if pid in names
        }
    return names


def socket_map(
    trace: Trace, graph: SocketGraph, verdict: Verdict | None = None, *, when: str = "at the end"
) -> SocketMap:
    """Return the map of a trace's sockets as they were at its end.

    Args:
        trace: the trace.
        graph: what it folds into.
        verdict: the judgement of it, if there is one.
        when: of which moment the trace's end is, in words.
    """
    return _Mapping(trace, graph, verdict).map(when)


class _Mapping:
    def __init__(self, trace: Trace, graph: SocketGraph, verdict: Verdict | None) -> None:
        self._trace = trace
        self._graph = graph
        self._verdict = verdict
        self._processes = process_names(trace, graph)
        self._by_listen = "epoll" in trace.header.unobserved
        self._workers = trace.header.concurrency or len(graph.workers())
        self._records = listeners_over(trace)
        self._threads: dict[str, MapThread] = {}
        self._epolls: dict[str, MapEpoll] = {}
        self._shown: set[int] = set()
        self._meant: dict[str, set[int]] = {}

    def map(self, when: str) -> SocketMap:
        found = [*self._of_config(), *self._of_no_one()]
        listeners = tuple(replace(one, id=f"l{index}") for index, one in enumerate(found))
        return SocketMap(listeners, self._threads, self._epolls, when)

    def _of_config(self) -> Iterator[MapListener]:
        now = {(r.name, a) for r in self._trace.header.listeners for a in r.addresses}
        last = next(
            (p.listeners for p in reversed(self._trace.phases) if p.listeners is not None), None
        )
        if last is not None:
            now = {(r.name, a) for r in last for a in r.addresses}
        for record in self._records:
            for part in parts_of(record, self._graph, self._records):
                yield self._listener(record, part, (record.name, part.address) in now)

    def _listener(
        self, record: ListenerRecord, part: AddressSockets, configured: bool
    ) -> MapListener:
        live = [s for s in part.sockets if s.is_open_to_clients]
        sockets = [self._socket(s) for s in sorted(part.sockets, key=lambda s: s.number)]
        if record.addresses and configured:
            sockets += self._foreign(record.protocol_at(part.address), part)
        marks = set()
        if configured and not live:
            marks.add(Mark.LOST)
        if not configured and not live:
            marks.add(Mark.CLOSED)
        if part.failed:
            marks.add(Mark.FAILED)
        return MapListener(
            "",
            record.name,
            record.kind,
            record.protocol_at(part.address),
            address_text(_bound_address(part)),
            self._way(part.sockets),
            tuple(sockets),
            tuple(render_call(call.event) for call in part.failed),
            self._workers,
            *self._judged(part.sockets, record.name, part.address),
            frozenset(marks | _common(sockets)),
        )

    def _of_no_one(self) -> Iterator[MapListener]:
        """Yield the sockets for clients that no listener of the config has, by their addresses."""
        groups: dict[tuple[str, str, bool], list[KernelSocket]] = {}
        for socket in self._graph.listening():
            if socket.number not in self._shown:
                own = socket.is_hot_restart
                address = "" if own else address_text(socket.address)
                key = (socket.protocol_name, address, own)
                groups.setdefault(key, []).append(socket)
        known = bool(self._trace.header.launcher) and bool(self._records)
        for (protocol, address, own), sockets in sorted(
            groups.items(), key=lambda item: (item[0][2], item[1][0].number)
        ):
            live = any(socket.is_open_to_clients for socket in sockets)
            drawn = [self._socket(socket) for socket in sockets]
            marks = {Mark.FOREIGN} if known and not own else set()
            yield MapListener(
                "",
                "",
                HOT_RESTART if own else UNLISTED,
                protocol,
                address,
                "" if own else self._way(sockets),
                tuple(drawn),
                (),
                self._workers,
                *self._judged(sockets),
                marks=frozenset(marks | (set() if live else {Mark.CLOSED}) | _common(drawn)),
            )

    def _way(self, sockets: Sequence[KernelSocket]) -> str:
        serving = serving_of(tuple(sockets), self._by_listen)
        way = shape_of(serving, tuple(s for s in sockets if s.is_open_to_clients))
        return SINGLE if way == "dup" and len(serving) == 1 else way

    def _socket(self, socket: KernelSocket) -> MapSocket:
        self._shown.add(socket.number)
        descriptors = [self._descriptor(one) for one in socket.descriptors]
        marks: set[Mark] = set()
        if reuse_port_before_bind(socket):
            marks.add(Mark.REUSE_PORT)
        if not socket.is_live:
            marks.add(Mark.CLOSED)
        elif self._is_unserved(socket):
            marks.add(Mark.LOST)
        if any(d.tainted_ns is not None for d in socket.descriptors) or self._is_open(socket):
            marks.add(Mark.DOUBT)
        open_in = {d.pid for d in socket.descriptors if d.is_open}
        if len(open_in) > 1 or any(Mark.SHARED in d.marks for d in descriptors):
            marks.add(Mark.SHARED)
        if any(Mark.INHERITED in d.marks for d in descriptors):
            marks.add(Mark.INHERITED)
        if socket.failed_binds and not socket.binds:
            marks.add(Mark.FAILED)
        queue, somaxconn = self._queue(socket)
        return MapSocket(
            socket_id(socket),
            socket.number,
            socket.protocol_name,
            address_text(socket.address),
            "CLOSED" if not socket.is_live else "LISTEN" if socket.listens else "BOUND",
            socket.listens[-1].event.args.get("backlog") if socket.listens else None,
            queue,
            somaxconn,
            tuple(
                MapOption(_option_name(one), value_text(one.value), one.phase)
                for one in socket.options
            ),
            (thread_label(self._graph, socket.born.tid),),
            self._labels(call.thread for call in socket.binds),
            self._labels(call.thread for call in socket.listens),
            tuple(descriptors),
            sum(c.event.call in ("accept", "accept4") and c.event.ok for c in socket.calls),
            marks=frozenset(marks),
        )

    def _is_unserved(self, socket: KernelSocket) -> bool:
        """Whether clients could reach a socket at the end, and no thread waits for them."""
        if self._by_listen or socket.is_hot_restart or not socket.is_open_to_clients:
            return False
        return not self._graph.servers_of(socket)

    def _is_open(self, socket: KernelSocket) -> bool:
        verdict = self._verdict
        return verdict is not None and socket.number in verdict.certificate.uncompared

    def _descriptor(self, descriptor: Descriptor) -> MapDescriptor:
        registrations = [one for one in descriptor.registrations if one.is_live]
        waiting = [one for one in registrations if one.wakes]
        threads = [thread for one in waiting for thread in one.wakes]
        if self._by_listen:
            threads = [
                call.thread for call in descriptor.socket.listens if call.descriptor is descriptor
            ]
        marks: set[Mark] = set()
        if descriptor.origin in ("dup", "fcntl"):
            marks.add(Mark.DUP)
        if descriptor.origin in ("scm_rights", "fork"):
            marks.add(Mark.INHERITED)
        if len(set(threads)) > 1:
            marks.add(Mark.SHARED)
        if not descriptor.is_open:
            marks.add(Mark.CLOSED)
        if descriptor.tainted_ns is not None:
            marks.add(Mark.DOUBT)
        source = descriptor.source
        return MapDescriptor(
            descriptor_id(descriptor),
            descriptor.fd,
            descriptor.origin,
            descriptor_id(source) if source else None,
            source.fd if source else None,
            self._processes.get(descriptor.pid, ""),
            descriptor.is_open,
            tuple(dict.fromkeys(self._epoll(one.epoll) for one in registrations)),
            tuple(dict.fromkeys(self._thread(thread) for thread in threads)),
            frozenset(marks),
            bool(waiting) and all("EPOLLEXCLUSIVE" in one.events for one in waiting),
        )

    def _epoll(self, epoll: Epoll) -> str:
        found = epoll_id(epoll)
        if found not in self._epolls:
            threads = tuple(self._thread(thread) for thread in epoll.waiters)
            self._epolls[found] = MapEpoll(found, epoll.fd, threads)
        return found

    def _thread(self, thread: Thread) -> str:
        found = thread_id(thread.tid)
        if found not in self._threads:
            label = thread.role if thread.role != "other" else thread.name or f"thread {thread.tid}"
            process = self._processes.get(thread.pid, "")
            ended = thread.exited_ns is not None
            self._threads[found] = MapThread(found, label, thread.role, process, ended)
        return found

    def _labels(self, threads: Iterable[Thread]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(thread_label(self._graph, thread.tid) for thread in threads))

    def _queue(self, socket: KernelSocket) -> tuple[int | None, int | None]:
        """Return how many connections waited, by the last account, and the limit of a backlog."""
        witness = self._trace.witness
        if witness is None or witness.network is None or not socket.listens:
            return None, None
        fds = {(d.pid, d.fd) for d in socket.descriptors if d.is_open}
        inodes = {one.inode for one in witness.sockets if (one.pid, one.fd) in fds}
        queues = [one.queue for one in witness.network.sockets if one.inode in inodes]
        return next(iter(queues), None), witness.network.limit_of(socket.netns)

    def _foreign(self, protocol: str, part: AddressSockets) -> Iterator[MapSocket]:
        """Yield the sockets of others at the port of a listener, by the last account."""
        witness = self._trace.witness
        network = None if witness is None else witness.network
        if witness is None or network is None:
            return
        own = {one.inode for one in witness.sockets}
        places = {place_key(a) for s in part.sockets for a in s.places} | {place_key(part.address)}
        drivers = {s.inode for phase in self._trace.phases for s in phase.strangers}
        for one in network.sockets:
            if one.inode in own or one.protocol != protocol or one.address is None:
                continue
            if one.address.netns != part.address.netns or place_key(one.address) not in places:
                continue
            owner = "the test driver" if one.inode in drivers else "another process"
            yield MapSocket(
                f"x{one.inode}",
                None,
                one.protocol,
                address_text(one.address),
                "BOUND" if one.backlog is None else "LISTEN",
                one.backlog,
                one.queue,
                network.limit_of(one.address.netns),
                owner=owner,
                marks=frozenset({Mark.FOREIGN}),
            )

    def _judged(
        self, sockets: Iterable[KernelSocket], name: str = "", address: Address | None = None
    ) -> tuple[Status | None, tuple[tuple[str | int, ...], ...]]:
        """Return the worst status of what was found about a listener, and the paths of it."""
        if self._verdict is None:
            return None, ()
        numbers = {socket.number for socket in sockets}
        found = [
            finding
            for finding in self._verdict.findings
            if (selector := finding.subject.listener) is not None
            and (
                not finding.subject.address
                or address is None
                or finding.subject.address.startswith(str(address))
            )
            and (
                (address is not None and means(selector, name, address))
                or numbers & self._selected(selector)
            )
        ]
        statuses = {finding.status for finding in found}
        order = (Status.FAIL, Status.INCONCLUSIVE, Status.KNOWN_DEFECT, Status.PASS)
        worst = next((status for status in order if status in statuses), None)
        return worst, tuple(finding.path for finding in found)

    def _selected(self, selector: Selector) -> set[int]:
        """Return the numbers of the sockets that a selector means."""
        key = str(selector)
        if key not in self._meant:
            chosen = select(selector, self._graph, self._trace.header.listeners, total=True)
            self._meant[key] = {socket.number for socket in chosen.sockets}
        return self._meant[key]


def _bound_address(part: AddressSockets) -> Address:
    """Return the address with the port that the kernel chose, if the config asks for 0."""
    learned = [socket.address for socket in part.sockets if socket.address is not None]
    return learned[-1] if part.address.port == 0 and learned else part.address


def _common(sockets: Iterable[MapSocket]) -> set[Mark]:
    """Return what the live sockets of a listener show of it as a whole."""
    found = {mark for socket in sockets if socket.serves for mark in socket.marks}
    foreign = {Mark.FOREIGN} if any(Mark.FOREIGN in s.marks for s in sockets) else set()
    return (found & {Mark.REUSE_PORT, Mark.INHERITED, Mark.SHARED, Mark.DOUBT}) | foreign


def _option_name(option: OptionSet) -> str:
    """Return an option's name, or its numbers where it has none here."""
    return option.name if isinstance(option.name, str) else f"{option.level}/{option.name}"
