"""The state of an Envoy that runs already, as a trace: made-up calls that lead to that state.

All that judges, compares and shows takes a trace. So a state becomes one: each process makes its
sockets, epolls and registrations as the kernel shows them, in an order of no meaning. The header
says that the history was not observed (`HISTORY`), and each word of the language says what of its
answers a state can give; the rest is INCONCLUSIVE (`judge.left_open`). The account that the calls
were made up from goes with them, and is compared with what they fold into, as any account is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.accounts import Witness, WitnessProcess, WitnessRegistration, WitnessSocket
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.frozen import frozen
from envoyassert.live.arguments import envoy_arguments_of
from envoyassert.names import CLONE_NEWNET, epoll_event_names, epoll_mask
from envoyassert.option_read_back import asked_for
from envoyassert.trace import (
    HISTORY,
    End,
    EnvoyIdentity,
    Header,
    ListenerRecord,
    Outcome,
    Trace,
)

#: What a state lacks beside the history.
UNOBSERVED = (HISTORY, "socket_states", "stacks", "durations")
#: Of an epoll they are always reported, whoever registers (epoll_ctl(2)).
ALWAYS_ASKED_FOR = frozenset({"EPOLLERR", "EPOLLHUP"})
_ALWAYS = epoll_mask(ALWAYS_ASKED_FOR)
_OWN_NETNS = "/proc/thread-self/ns/net"
_STEP_NS = 1_000


#: The calls by which connections are taken.
ACCEPTS = ("accept", "accept4")


@frozen
class Watched:
    """What a process that runs did while it was watched.

    Args:
        seconds: for how long.
        calls: its calls of ACCEPTS, whether they took a connection or not.
        lost: how many records of any of its calls were lost, 0 if none.
        ended: whether the process ended meanwhile.
    """

    seconds: float
    calls: tuple[Event, ...] = ()
    lost: int = 0
    ended: bool = False


def trace_of_state(
    witness: Witness,
    *,
    envoy: EnvoyIdentity | None = None,
    kernel: str = "",
    rundir: str = "",
    listeners: Sequence[ListenerRecord] | None = None,
    where: Mapping[str, str] | None = None,
) -> Trace:
    """Return the state of a process as a trace.

    Args:
        witness: what kernel and Envoy said, with threads and kinds of sockets.
        envoy: which Envoy it is.
        kernel: the kernel's release.
        rundir: what stands for `${rundir}`, or "".
        listeners: the listeners by the config; None for those that Envoy lists itself.
        where: where it lives, as of `Header`.
    """
    header = Header(
        envoy=envoy or EnvoyIdentity(),
        concurrency=_concurrency(witness),
        kernel=kernel,
        listeners=_listed(witness) if listeners is None else tuple(listeners),
        unobserved=UNOBSERVED,
        rundir=rundir,
        tracer="",
        where=dict(where or {}),
        inner_pids={
            str(process.pid): process.inner_pid
            for process in witness.processes
            if process.inner_pid not in (0, process.pid)
        },
    )
    begun_ns = witness.ts_ns if witness.begun_ns is None else witness.begun_ns
    calls = list(_Calls(witness).made())
    first_ns = max(1, begun_ns - (len(calls) + 1) * _STEP_NS)
    events = [
        Event(first_ns + number * _STEP_NS, pid, tid, call, ret, args, seq=number + 1)
        for number, (pid, tid, call, ret, args) in enumerate(calls)
    ]
    said = "whether it became LIVE in time is a matter of its start"
    outcome = Outcome(live_unknown=said)
    return Trace(header, events, End(outcome=outcome), witness)


def is_state(unobserved: Sequence[str]) -> bool:
    """Return whether a trace is a state, by what it does not cover."""
    return HISTORY in unobserved


def with_history(trace: Trace, path: str) -> Trace:
    """Return a trace that can be compared with others, which a state cannot.

    Args:
        trace: the trace.
        path: its file, for the message.

    Raises:
        TraceFileError: it is a state.
    """
    if is_state(trace.header.unobserved):
        raise TraceFileError(
            f"{path}: error: a state has no history that could be compared",
            "compare what `envoyassert show --format json` prints of two states",
        )
    return trace


def _concurrency(witness: Witness) -> int:
    """Return how many workers were asked for, 0 if that is not known."""
    stats = {} if witness.envoy is None else witness.envoy.stats
    known = stats.get("server.concurrency", 0)
    argv = next((p.argv for p in witness.processes if p.pid == witness.pid), ())
    given = envoy_arguments_of(argv).concurrency
    if not known and given is not None:
        return max(1, given)
    return known


def _listed(witness: Witness) -> tuple[ListenerRecord, ...]:
    """Return the listeners that Envoy lists, with the protocols of the sockets that are there."""
    if witness.envoy is None:
        return ()
    datagrams = {
        entry.address
        for entry in witness.sockets
        if entry.kind is not None and entry.kind.type == "SOCK_DGRAM"
    }
    streams = {
        entry.address
        for entry in witness.sockets
        if entry.kind is not None and entry.kind.type == "SOCK_STREAM" and entry.listening
    }
    found = []
    for listener in witness.envoy.listeners:
        if not listener.addresses:
            continue
        first = listener.addresses[0]
        protocol = "TCP" if first.is_ip else "UNIX"
        if first.is_ip and first in datagrams and first not in streams:
            protocol = "UDP"
        kind = "static"
        found.append(ListenerRecord(listener.name, protocol, listener.addresses, kind))
    return tuple(found)


_Call = tuple[int, int, str, "int | None", dict[str, Any]]


class _Calls:
    """The calls that lead to a state.

    Args:
        witness: the state.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._sockets = [entry for entry in witness.sockets if _is_for_clients(entry)]
        self._by_pid: dict[int, dict[int, WitnessSocket]] = {}
        for entry in self._sockets:
            self._by_pid.setdefault(entry.pid, {})[entry.fd] = entry
        self._free = max((entry.fd for entry in witness.sockets), default=0) + 1_000

    def made(self) -> Iterator[_Call]:
        """Yield process, thread, call, result and arguments of each call."""
        witness = self._witness
        for process in witness.processes:
            yield from self._begun(process)
        # The first process that has a socket makes it; others get it by a message.
        made: dict[int, WitnessSocket] = {}
        for entry in self._sockets:
            first = made.get(entry.inode)
            if first is None:
                made[entry.inode] = entry
                yield from self._socket(entry)
            elif first.pid == entry.pid:
                yield entry.pid, entry.pid, "dup", entry.fd, {"fd": first.fd}
            else:
                yield first.pid, first.pid, "sendmsg", 1, {"fd": self._free, "fds": [first.fd]}
                yield entry.pid, entry.pid, "recvmsg", 1, {"fd": self._free, "fds": [entry.fd]}
        for entry in made.values():
            if entry.listening:
                yield entry.pid, entry.pid, "listen", 0, {"fd": entry.fd, "backlog": None}
        for thread in witness.threads:
            if thread.epfd is not None:
                yield thread.pid, thread.tid, "epoll_wait", None, {"epfd": thread.epfd}
        for registration in witness.registrations:
            yield from self._registered(registration)
        for holder in witness.holders:
            known = made.get(holder.inode)
            if known is not None:
                message = {"fd": self._free, "fds": [known.fd]}
                yield known.pid, known.pid, "sendmsg", 1, message

    def _begun(self, process: WitnessProcess) -> Iterator[_Call]:
        pid = process.pid
        if process.parent is not None:
            born = {"child_pid": pid, "child_tid": pid, "thread": False}
            yield process.parent, process.parent, "fork", None, born
        threads = [thread for thread in self._witness.threads if thread.pid == pid]
        name = next((thread.name for thread in threads if thread.tid == pid), "")
        argv = list(process.argv)
        program = {"filename": process.filename, "argv": argv, "name": name}
        yield pid, pid, "exec", 0, program
        for thread in threads:
            if thread.tid != pid:
                yield pid, pid, "rename", None, {"tid": thread.tid, "name": thread.name}
        epolls = {one.epfd for one in threads if one.epfd is not None}
        epolls |= {one.epfd for one in self._witness.registrations if one.pid == pid}
        for epfd in sorted(epolls):
            yield pid, pid, "epoll_create1", epfd, {"flags": ["EPOLL_CLOEXEC"]}

    def _socket(self, entry: WitnessSocket) -> Iterator[_Call]:
        kind, pid = entry.kind, entry.pid
        assert kind is not None
        netns = "" if entry.address is None else entry.address.netns
        if netns:
            yield self._entered(pid, netns, _STEP_NS // 2)
        made = {"family": kind.family, "type": kind.type, "protocol": kind.protocol}
        flags = ["SOCK_CLOEXEC", "SOCK_NONBLOCK"]
        yield pid, pid, "socket", entry.fd, {**made, "flags": flags}
        if netns:
            yield self._entered(pid, _OWN_NETNS, 3 * _STEP_NS)
        for key in kind.unlike_new:
            level, _, name = key.partition("/")
            value = asked_for(name, (entry.options or {}).get(key))
            if value is None:
                continue
            option = {"fd": entry.fd, "level": level, "name": name, "length": 4, "value": value}
            yield pid, pid, "setsockopt", 0, option
        if entry.address is not None:
            bound = replace(entry.address, netns="")
            yield pid, pid, "bind", 0, {"fd": entry.fd, "address": bound}

    def _entered(self, pid: int, path: str, age_ns: int) -> _Call:
        entered = {"fd": self._free, "nstype": CLONE_NEWNET, "path": path, "age_ns": age_ns}
        return pid, pid, "setns", 0, entered

    def _registered(self, one: WitnessRegistration) -> Iterator[_Call]:
        """Yield what registers a descriptor.

        Of one that was closed it stays while its socket is open by another one (epoll(7)).
        """
        events = epoll_event_names((one.mask or 0) & ~_ALWAYS)
        added = {"epfd": one.epfd, "op": "EPOLL_CTL_ADD", "fd": one.fd, "events": events}
        mine = self._by_pid.get(one.pid, {})
        there = mine.get(one.fd)
        if there is not None and there.inode == one.inode:
            yield one.pid, one.pid, "epoll_ctl", 0, added
        elif there is None:
            for copied in [entry for entry in mine.values() if entry.inode == one.inode][:1]:
                yield one.pid, one.pid, "dup", one.fd, {"fd": copied.fd}
                yield one.pid, one.pid, "epoll_ctl", 0, added
                yield one.pid, one.pid, "close", 0, {"fd": one.fd}


def _is_for_clients(entry: WitnessSocket) -> bool:
    """Whether something could come in, or an address is held: it is no connection's."""
    if entry.kind is None or entry.kind.connected:
        return False
    return bool(entry.listening) or entry.address is not None


def why_unsettled(witness: Witness) -> str:
    """Return why it is not known who serves the sockets, "" if it is.

    Each worker waits on an epoll of its own, and each socket for clients that asks for input stands
    in an epoll on which a thread waits.

    Args:
        witness: the state.
    """
    busy = [
        thread.name
        for thread in witness.threads
        if thread.name.startswith("wrk:worker_") and thread.epfd is None
    ]
    if busy:
        return f"{', '.join(busy)} was not seen to wait on its epoll (it is busy)"
    waited = {(one.pid, one.epfd) for one in witness.threads}
    inodes = {one.inode for one in witness.sockets if _is_for_clients(one)}
    for one in witness.registrations:
        if one.inode in inodes and (one.pid, one.epfd) not in waited:
            return f"no thread was seen to wait on epoll {one.epfd}"
    return ""
