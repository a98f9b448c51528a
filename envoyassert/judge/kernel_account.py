"""The kernel's own account against the graph: all that can be compared, and what could not be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import TypeVar

from envoyassert.accounts import NetworkSocket, Witness, WitnessSocket
from envoyassert.fact import Fact
from envoyassert.graph.model import Descriptor, KernelSocket, Registration, SocketGraph
from envoyassert.judge.settled import KernelComparison, Possible, Settled
from envoyassert.names import epoll_mask
from envoyassert.option_read_back import Surroundings, reads_back
from envoyassert.option_values import OptionValue
from envoyassert.trace import Trace


class OptionComparison:
    """The options of one account against one graph.

    Args:
        witness: the account.
        settled: the graph at that time.
        result: receives how many values were compared, and which could not be.
    """

    def __init__(self, witness: Witness, settled: Settled, result: KernelComparison) -> None:
        self._witness = witness
        self._settled = settled
        self._result = result
        self._known: set[int] = set()

    def differing(self, socket: KernelSocket, entry: WitnessSocket) -> Iterator[tuple[Fact, bool]]:
        """Yield each option that has another value than the trace set.

        Each socket is compared once, whatever number of descriptors it has.

        Yields:
            What differs, and whether a call that was in flight explains it.
        """
        if entry.inode in self._known:
            return
        self._known.add(entry.inode)
        place = self._place(socket)
        changes: dict[tuple[int | str, int | str], list[tuple[int, OptionValue]]] = {}
        for option in socket.options:
            key = option.level, option.name
            changes.setdefault(key, []).append((option.call.event.ts_ns, option.value))
        for (level, name), values in changes.items():
            # A list stands for the value, so that what was not set yet differs from unread.
            possible = self._settled.possible([(ts, [value]) for ts, value in values], start=[])
            held = [value for one in possible.held for value in one]
            late = [value for one in possible.in_flight for value in one]
            if not held and not late:
                continue  # set later
            if entry.options is None:
                self._result.unnoted["option value"] += 1
                continue
            seen = entry.options.get(f"{level}/{name}")
            answers = [reads_back(level, name, value, seen, place) for value in held]
            late_answers = [reads_back(level, name, value, seen, place) for value in late]
            if seen is None or None in (*answers, *late_answers):
                self._result.untold[str(name)] += 1
            elif True in answers:
                self._result.compared["option value"] += 1
            elif [] not in possible.held:
                differs = Fact(
                    "option_differs", fd=entry.fd, name=name, kernel=seen, trace=held[-1]
                )
                yield differs, True in late_answers

    def _place(self, socket: KernelSocket) -> Surroundings:
        limits = dict(self._witness.limits)
        network = self._witness.network
        most = None if network is None else network.limit_of(socket.netns)
        if most is not None:
            limits["net.core.somaxconn"] = most
        beside = frozenset(option.name for option in socket.options)
        return Surroundings(socket.protocol_name, socket.address, limits, beside)


T = TypeVar("T")

_UNSIGNED = 0xFFFFFFFF
#: What sock_diag is asked for, and how the graph calls it.
_DIAGNOSED = ("TCP", "UDP", "UNIX")
#: What the descriptors of a process are looked at for.
_FAMILIES = ("AF_INET", "AF_INET6", "AF_UNIX", "")
#: Always asked for, whoever registers (Linux, fs/eventpoll.c, do_epoll_ctl()).
_ALWAYS = epoll_mask(("EPOLLERR", "EPOLLHUP"))
#: Taken away from who may not keep a machine awake.
_MAY_LACK = epoll_mask(("EPOLLWAKEUP",))
_ONE_SHOT = epoll_mask(("EPOLLONESHOT",))
#: What is left of the mask of one shot that was fired (EP_PRIVATE_BITS).
_PRIVATE = epoll_mask(("EPOLLWAKEUP", "EPOLLONESHOT", "EPOLLET", "EPOLLEXCLUSIVE"))

Numbers = tuple[int, int]


def compare(trace: Trace, witness: Witness, graph: SocketGraph) -> KernelComparison:
    """Compare listening and bound datagram sockets with what the kernel shows.

    Connections come and go while the account is taken, so only sockets that listen, by either
    side's word, are compared: which descriptors there are, which of them are one socket, the
    local address, the options that were set, LISTEN, the epoll registrations with their masks, and
    what the network namespace has of them, with the backlog.
    """
    begun_ns = witness.ts_ns if witness.begun_ns is None else witness.begun_ns
    settled = Settled(trace, graph, begun_ns, witness.ts_ns)
    return _Comparison(witness, settled).made()


def foreign_sockets(witness: Witness) -> list[NetworkSocket]:
    """Return the sockets for clients in the network namespace that are not the process's."""
    own = {entry.inode for entry in witness.sockets}
    found = [] if witness.network is None else witness.network.sockets
    return [socket for socket in found if socket.inode not in own]


def is_put_by_scenario(trace: Trace, foreign: NetworkSocket) -> bool:
    """Return whether a step of the scenario put a foreign socket there."""
    put = trace.phases[-1].strangers if trace.phases else ()
    return foreign.inode in {one.inode for one in put}


def effective_backlog(requested: int, somaxconn: int) -> int:
    """Return what the kernel makes of a backlog (Linux, net/socket.c, __sys_listen())."""
    return min(requested & _UNSIGNED, somaxconn)


class _Comparison:
    """One account against one graph."""

    def __init__(self, witness: Witness, settled: Settled) -> None:
        self.witness = witness
        self.settled = settled
        self.result = KernelComparison()
        self.theirs = {(entry.pid, entry.fd): entry for entry in witness.sockets}
        self.pids = set(witness.pids) or {entry.pid for entry in witness.sockets}
        if not self.pids and len(settled.graph.processes) == 1:
            self.pids = set(settled.graph.processes)
        #: The descriptors that both sides have, and which entry each is.
        self.pairs: dict[Numbers, tuple[Descriptor, WitnessSocket]] = {}
        #: Numbers that stood for several sockets one after the other.
        self.reborn: set[Numbers] = set()
        #: The sockets of which a descriptor was open from the beginning to the end.
        self.lasting: set[KernelSocket] = set()
        self.options = OptionComparison(witness, settled, self.result)

    def made(self) -> KernelComparison:
        """Return the whole comparison."""
        found = self.result.disagreements
        found += self._descriptors()
        found += self._unknown()
        for descriptor, entry in self.pairs.values():
            found += self._socket(descriptor.socket, entry)
        found += self._identities()
        found += self._registrations()
        found += self._network()
        self.result.sockets |= {descriptor.socket for descriptor, _ in self.pairs.values()}
        self.result.compared["socket descriptor"] = len(self.pairs)
        return self.result

    def _agrees(self, socket: KernelSocket, possible: Possible[T], shown: T) -> bool:
        """Return whether a value may be shown, and note if only a call in flight explains it."""
        if shown in possible.held:
            return True
        if shown in possible.in_flight:
            self.result.doubtful[socket] = Fact("call_in_flight", socket=_name(socket))
            return True
        return False

    def _descriptors(self) -> Iterator[Fact]:
        """Pair the descriptors of both sides; yield what the kernel does not show."""
        by_number: dict[Numbers, list[tuple[Descriptor, Possible[bool]]]] = defaultdict(list)
        for descriptor, shown in self.settled.descriptors():
            if shown.is_surely(True):
                self.lasting.add(descriptor.socket)
            reason = self._cannot_be_seen(descriptor)
            if reason is None:
                by_number[descriptor.pid, descriptor.fd].append((descriptor, shown))
            elif True in shown.held:
                self.result.unasked[descriptor.socket] = reason
        for key, candidates in by_number.items():
            # A number that was surely given out again was surely closed before.
            sure = [pair for pair in candidates if pair[1].held == (True,)]
            entry = self.theirs.get(key)
            if len(candidates) > 1 and not sure:
                self.reborn.add(key)
                for descriptor, _ in candidates:
                    self.result.unasked[descriptor.socket] = Fact("given_out_again", fd=key[1])
                continue
            for descriptor, shown in sure or candidates:
                fits = entry is not None and self._fits(descriptor.socket, entry)
                # What is surely open is compared, whatever else is there; the rest if it fits.
                is_it = fits or True in shown.held
                if entry is not None and is_it:
                    self.pairs[key] = descriptor, entry
                    self._agrees(descriptor.socket, shown, True)
                    break
                if not self._agrees(descriptor.socket, shown, False):
                    yield Fact("no_socket_at", fd=key[1], socket=_name(descriptor.socket))

    def _cannot_be_seen(self, descriptor: Descriptor) -> Fact | None:
        if descriptor.pid not in self.pids:
            return Fact("process_not_asked", pid=descriptor.pid)
        family = descriptor.socket.family
        return None if family in _FAMILIES else Fact("family_not_asked", family=family)

    def _fits(self, socket: KernelSocket, entry: WitnessSocket) -> bool:
        listening = self.settled.listening(socket)
        known = self._addresses(socket)
        states = (*listening.held, *listening.in_flight, None)
        return entry.listening in states and (not known or entry.address in known)

    def _addresses(self, socket: KernelSocket) -> tuple[object, ...]:
        """Return the addresses that a socket may be shown with, () if that is not known."""
        # An unbound port is the kernel's affair.
        if socket.address is None or socket.address.port == 0:
            return ()
        bound = [(call.event.ts_ns, socket.address) for call in socket.binds]
        possible = self.settled.possible(bound, start=None)
        return (*possible.held, *possible.in_flight)

    def _unknown(self) -> Iterator[Fact]:
        for key, entry in self.theirs.items():
            if entry.listening and key not in self.pairs and key not in self.reborn:
                yield Fact("unknown_listening", fd=key[1], address=entry.address)

    def _socket(self, socket: KernelSocket, entry: WitnessSocket) -> Iterator[Fact]:
        known = self._addresses(socket)
        if known and entry.address not in known:
            address = {"kernel": entry.address, "trace": socket.address}
            yield Fact("address_differs", fd=entry.fd, **address)
        listening = self.settled.listening(socket)
        if entry.listening is not None and not self._agrees(socket, listening, entry.listening):
            yield Fact("listening_differs", fd=entry.fd, listens=entry.listening)
        is_ip = socket.family in ("AF_INET", "AF_INET6")
        if is_ip and entry.reuse_port is not None and socket.origin == "socket":
            ours = self.settled.reuse_port(socket)
            if not self._agrees(socket, ours, entry.reuse_port):
                values = {"kernel": int(entry.reuse_port), "trace": int(ours.held[-1])}
                yield Fact("option_differs", fd=entry.fd, name="SO_REUSEPORT", **values)
        for differs, in_flight in self.options.differing(socket, entry):
            if in_flight:
                self.result.doubtful[socket] = Fact("differs_in_flight", differs=differs)
            else:
                yield differs

    def _identities(self) -> Iterator[Fact]:
        by_inode: dict[int, set[KernelSocket]] = defaultdict(set)
        by_socket: dict[KernelSocket, set[int]] = defaultdict(set)
        for descriptor, entry in self.pairs.values():
            by_inode[entry.inode].add(descriptor.socket)
            by_socket[descriptor.socket].add(entry.inode)
        for socket, inodes in by_socket.items():
            if len(inodes) > 1:
                inodes_ = tuple(sorted(inodes))
                yield Fact("several_for_kernel", socket=_name(socket), inodes=inodes_)
        for inode, sockets in by_inode.items():
            if len(sockets) > 1:
                yield Fact("one_for_kernel", inode=inode)

    def _is_copy(self, pid: int, epfd: int) -> bool:
        """Whether an epoll came to a process by fork(2)."""
        processes, made = self.settled.graph.processes, self._epolls
        process = processes.get(pid)
        while (pid, epfd) not in made and process is not None and process.parent is not None:
            pid, process = process.parent, processes.get(process.parent)
            if (pid, epfd) in made:
                return True
        return False

    @cached_property
    def _epolls(self) -> set[tuple[int, int]]:
        return {(epoll.pid, epoll.fd) for epoll in self.settled.graph.epolls}

    def _registrations(self) -> Iterator[Fact]:
        """Compare which sockets are in which epoll, and with which mask."""
        inodes = {descriptor.socket: entry.inode for descriptor, entry in self.pairs.values()}
        sockets = {inode: socket for socket, inode in inodes.items()}
        ours: dict[tuple[int, int, int, int], list[Registration]] = defaultdict(list)
        for one in self.settled.graph.registrations:
            inode = inodes.get(one.descriptor.socket)
            if inode is not None and one.epoll.pid in self.pids:
                ours[one.epoll.pid, one.epoll.fd, one.descriptor.fd, inode].append(one)
        makers = {epoll.pid for epoll in self.settled.graph.epolls}
        theirs = {
            (r.pid, r.epfd, r.fd, r.inode): r
            for r in self.witness.registrations
            # A copy of an epoll, in a process that was forked, shows what the original does.
            if r.inode in sockets and r.pid in makers and not self._is_copy(r.pid, r.epfd)
        }
        for key in sorted(ours.keys() | theirs.keys()):
            _, epfd, fd, inode = key
            possible = self.settled.masks(ours[key])
            shown = theirs.get(key)
            where = {"fd": fd, "epfd": epfd}
            if shown is None:
                if not self._agrees(sockets[inode], possible, None):
                    yield Fact("not_in_epoll", **where)
                continue
            held = tuple(m for m in possible.held if m is not None)
            late = tuple(m for m in possible.in_flight if m is not None)
            if not held and not late:
                yield Fact("in_epoll", **where)
                continue
            self.result.compared["epoll registration"] += 1
            self.result.unnoted["epoll mask"] += shown.mask is None
            fitting = [_fits_mask(mask, shown.mask) for mask in held]
            if not self._agrees(
                sockets[inode],
                Possible(tuple(fitting), tuple(_fits_mask(mask, shown.mask) for mask in late)),
                True,
            ):
                masks = {"kernel": shown.mask, "trace": tuple((held or late)[-1])}
                yield Fact("mask_differs", **where, **masks)

    def _network(self) -> Iterator[Fact]:
        """Compare with what sock_diag shows of the namespace, joined by inode."""
        network = self.witness.network
        if network is None or network.error:
            return
        shown = {entry.inode: entry for entry in network.sockets}
        compared: dict[int, tuple[WitnessSocket, Descriptor]] = {}
        for descriptor, entry in self.pairs.values():
            compared.setdefault(entry.inode, (entry, descriptor))
        for inode, (entry, descriptor) in compared.items():
            socket = descriptor.socket
            if socket.protocol_name not in _DIAGNOSED:
                continue
            found = shown.get(inode)
            listening = self.settled.listening(socket)
            if found is not None:
                limit = network.limit_of(socket.netns)
                yield from self._diagnosed(entry, found, socket, limit)
            elif socket in self.lasting and listening.is_surely(True):
                yield Fact("not_in_sock_diag", socket=_name(socket))

    def _diagnosed(
        self,
        entry: WitnessSocket,
        found: NetworkSocket,
        socket: KernelSocket,
        somaxconn: int | None,
    ) -> Iterator[Fact]:
        if found.address != entry.address:
            addresses = {"sock_diag": found.address, "getsockname": entry.address}
            yield Fact("sock_diag_address", inode=found.inode, **addresses)
        if None not in (found.cookie, entry.cookie) and found.cookie != entry.cookie:
            cookies = {"sock_diag": found.cookie, "getsockopt": entry.cookie}
            yield Fact("cookie_differs", socket=_name(socket), **cookies)
        requested = self.settled.backlog(socket)
        if found.backlog is None or somaxconn is None or set(requested.held) == {None}:
            return
        effective = Possible(
            tuple(effective_backlog(one, somaxconn) for one in requested.held if one is not None),
            tuple(
                effective_backlog(one, somaxconn) for one in requested.in_flight if one is not None
            ),
        )
        if not self._agrees(socket, effective, found.backlog):
            yield Fact(
                "backlog_differs",
                socket=_name(socket),
                kernel=found.backlog,
                trace=effective.held[-1],
                requested=requested.held[-1],
                somaxconn=somaxconn,
            )


def _fits_mask(events: tuple[str, ...], shown: int | None) -> bool:
    """Whether the kernel shows a mask as it was passed; True if it was not noted."""
    if shown is None:
        return True
    asked = epoll_mask(events)
    expected = {asked | _ALWAYS}
    if asked & _ONE_SHOT:
        expected.add(asked & _PRIVATE)
    return any(not (shown ^ mask) & ~_MAY_LACK for mask in expected)


def _name(socket: KernelSocket) -> str:
    return str(socket.address) if socket.address is not None else f"socket #{socket.number}"
