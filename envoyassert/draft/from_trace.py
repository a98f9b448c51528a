"""What a trace shows of Envoy's sockets, as something to expect of the next run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.draft.expected import Draft, DraftError, addresses_of
from envoyassert.graph.cut import cut
from envoyassert.graph.fold import fold
from envoyassert.graph.kinds import only_holds_its_address
from envoyassert.graph.model import Call, KernelSocket, OptionSet, SocketGraph, Thread
from envoyassert.judge.interval import plural
from envoyassert.judge.selection import parts_of
from envoyassert.judge.target import serving_of, shape_of
from envoyassert.option_values import FILTERS, OptionValue
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.state import is_state
from envoyassert.trace import STARTUP, Trace

# Its value is a number that the process was given by another call.
_POINTERS = ("SO_ATTACH_BPF",)
_ASSUMPTIONS = {
    "completeness": "complete",
    "results": "calls_succeeded",
    "threads": "comm_is_role",
}


def draft_of_trace(trace: Trace) -> Draft:
    """Return what a run did with its sockets at its start.

    Raises:
        DraftError: records were lost, Envoy had ended, there were several, or nothing listens as
            far as the trace shows.
    """
    for phase in trace.phases:
        if phase.name == STARTUP:
            trace = cut(trace, phase)  # a draft has no steps
    graph = fold(trace)
    if graph.gaps:
        raise DraftError(
            "the trace lost records, so what it shows is not all that happened",
            "record the run again",
        )
    if not trace.end.outcome.running:
        raise DraftError("Envoy had ended when the trace was taken", "draft from a run that is up")
    if len({thread.pid for thread in graph.workers()}) > 1:
        raise DraftError("the trace is of several Envoys", "draft from a run of one")
    sets = tuple(_in_any_rundir(one, trace.header.rundir) for one in _sets(trace, graph))
    if not sets and trace.header.unobserved:
        raise DraftError("the trace has no listening socket", "draft from a run that has one")
    workers = trace.header.concurrency or len(graph.workers())
    assume = [_ASSUMPTIONS[c] for c in trace.header.unobserved if c in _ASSUMPTIONS]
    admin = any(record.kind == "admin" for record in trace.header.listeners)
    return Draft(
        workers,
        sets,
        admin=admin,
        closed=not trace.header.unobserved,
        assume=tuple(assume),
        envoy=tuple(addresses_of(sets)),
    )


def _in_any_rundir(one: SocketSet, rundir: str) -> SocketSet:
    """Return sockets whose path, if it is in the trace's run directory, is in that of any run."""
    path = one.address.path or ""
    if not rundir or not path.startswith(f"{rundir}/"):
        return one
    return replace(one, address=Address.unix("${rundir}" + path[len(rundir) :]))


def _sets(trace: Trace, graph: SocketGraph) -> Iterator[SocketSet]:
    """Yield the sockets of each address of each listener, then those of no listener."""
    taken: set[int] = set()
    listeners = trace.header.listeners
    for record in listeners:
        for part in parts_of(record, graph, listeners):
            mine = tuple(socket for socket in part.sockets if id(socket) not in taken)
            taken |= {id(socket) for socket in mine}
            if mine:
                yield _set(trace, graph, record.name, part.address, mine)
    groups: dict[tuple[str, Address], list[KernelSocket]] = {
        (socket.protocol_name, socket.address): []
        for socket in (*graph.listening(), *filter(only_holds_its_address, graph.candidates))
        if id(socket) not in taken and socket.address is not None and not socket.is_hot_restart
    }
    for socket in graph.candidates:
        # One that is bound there and does not listen belongs to them.
        if socket.address is not None and (socket.protocol_name, socket.address) in groups:
            groups[socket.protocol_name, socket.address].append(socket)
    for (protocol, address), sockets in groups.items():
        if protocol in ("TCP", "MPTCP", "UDP", "UNIX"):
            yield _set(trace, graph, str(address), address, tuple(sockets))


def _set(
    trace: Trace,
    graph: SocketGraph,
    name: str,
    address: Address,
    sockets: tuple[KernelSocket, ...],
) -> SocketSet:
    by_listen = "epoll" in trace.header.unobserved
    serving = serving_of(sockets, by_listen)
    role = _role([entry.thread for entry in serving], graph)
    binds = [call for socket in sockets for call in socket.binds]
    listens = [call for socket in sockets for call in socket.listens]
    backlogs = {call.event.args["backlog"] for call in listens}
    live = [d for socket in sockets for d in socket.descriptors if d.is_open]
    waking = [r for s in sockets for r in s.live_registrations() if r.wakes]
    masks = {registration.events for registration in waking}
    options = [_options(socket) for socket in sockets]
    same = all(found == options[0] for found in options)
    # What an imported log does not have is not to be compared.
    whole = not set(_ASSUMPTIONS) & set(trace.header.unobserved)
    return SocketSet(
        name=name,
        address=address,
        protocol=sockets[0].protocol_name,
        sockets=len(binds),
        bound_by=_role([call.thread for call in binds], graph) if whole else "",
        descriptors=len(live) if whole else None,
        role=role if serving else "none",
        via=shape_of(serving, sockets) if role == "workers" else "",
        mask=masks.pop() if len(masks) == 1 else (),
        options=options[0] if same else tuple(o for o in options[0] if _in_all(o, options)),
        exact=same,
        listens=None if sockets[0].type == "SOCK_DGRAM" else len(listens),
        listen_by=_role([call.thread for call in listens], graph) if whole else "",
        backlog=_backlog(trace, sockets)
        if backlogs == {None}
        else backlogs.pop()
        if serving and len(backlogs) == 1
        else None,
        file=_file(graph, address, binds) if whole else None,
    )


def unlike(seen: Draft, expected: Draft) -> list[str]:
    """Return in words where a draft has other sockets than one that was seen.

    Args:
        seen: of a state.
        expected: what Envoy does with listeners that are like it.
    """
    sides = [
        {
            (one.protocol, one.address): (one.sockets, one.descriptors, one.role)
            for one in draft.sets
        }
        for draft in (seen, expected)
    ]
    return [
        f"{address}: there are {_sockets_in_words(sides[0][protocol, address])} now, a start makes "
        f"{_sockets_in_words(sides[1][protocol, address])}"
        for protocol, address in sides[0]
        if (protocol, address) in sides[1]
        and sides[0][protocol, address] != sides[1][protocol, address]
    ]


def _sockets_in_words(found: tuple[int, int | None, str]) -> str:
    sockets, descriptors, role = found
    return f"{plural(sockets, 'socket')} with {descriptors} descriptors, served by {role or 'some'}"


def _backlog(trace: Trace, sockets: tuple[KernelSocket, ...]) -> int | None:
    """Return the backlog of a state's sockets as listen() may have been given it."""
    witness = trace.witness
    network = None if witness is None else witness.network
    if witness is None or network is None or not is_state(trace.header.unobserved):
        return None
    own = {(d.pid, d.fd) for socket in sockets for d in socket.descriptors}
    inodes = {entry.inode for entry in witness.sockets if (entry.pid, entry.fd) in own}
    found = {one.backlog for one in network.sockets if one.inode in inodes}
    number = found.pop() if len(found) == 1 else None
    limit = network.limit_of(sockets[0].netns)
    return number if number is not None and limit is not None and number < limit else -1


def _role(threads: Sequence[Thread], graph: SocketGraph) -> str:
    """Return the role that these threads are, "" if no one role is all of them."""
    roles = {thread.role for thread in threads}
    if roles and roles == {thread.role for thread in graph.workers()}:
        return "workers"
    return roles.pop() if len(roles) == 1 else ""


def _options(socket: KernelSocket) -> tuple[SocketOption, ...]:
    return tuple(SocketOption(o.level, o.name, _value(o), o.phase) for o in socket.options)


def _value(option: OptionSet) -> OptionValue:
    if option.name in FILTERS:
        # What it is made of differs with the number of workers; how long it is does not.
        long = option.value.get("instructions") if isinstance(option.value, dict) else None
        return None if long is None else {"instructions": long}
    return None if option.name in _POINTERS else option.value


def _in_all(option: SocketOption, sockets: Sequence[Sequence[SocketOption]]) -> bool:
    """Whether an option is set on every socket, once and to the same value."""
    return all(
        [o for o in options if o.name == option.name and o.phase == option.phase] == [option]
        for options in sockets
    )


def _file(graph: SocketGraph, address: Address, binds: Sequence[Call]) -> tuple[bool, str] | None:
    """Return what was done to the file of a path, as `SocketSet.file`."""
    if address.path is None or not binds:
        return None
    mine = [e for e in graph.file_calls if e.args.get("path") == address.path]
    bound_ns = binds[-1].event.ts_ns
    removed = [e for e in mine if e.call.startswith("unlink") and e.ts_ns <= bound_ns]
    modes = [e for e in mine if "mode" in e.args and e.ok and e.ts_ns >= bound_ns]
    return bool(removed), f"{modes[-1].args['mode']:04o}" if modes else "umask"
