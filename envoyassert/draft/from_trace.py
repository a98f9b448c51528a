"""What a trace shows of Envoy's sockets, as something to expect of the next run."""

from __future__ import annotations

from dataclasses import replace

from envoyassert.addresses import Address
from envoyassert.draft.elsewhere import addresses_of
from envoyassert.draft.expected import Draft, DraftError, DraftOption, SocketSet
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.shape import serving_of, shape_of
from envoyassert.trace import ListenerRecord, Trace

# These hold a pointer into the process.
_POINTERS = ("SO_ATTACH_FILTER", "SO_ATTACH_REUSEPORT_CBPF", "SO_ATTACH_BPF")
_ASSUMPTIONS = {
    "completeness": "complete",
    "results": "calls_succeeded",
    "threads": "comm_is_role",
}


def draft_of_trace(trace: Trace) -> Draft:
    """Return what a run did with its sockets.

    Raises:
        DraftError: records were lost, Envoy had ended, or there is no listening socket.
    """
    graph = fold(trace)
    if graph.gaps:
        raise DraftError(
            "the trace lost records, so what it shows is not all that happened",
            "record the run again",
        )
    if not trace.end.outcome.running:
        raise DraftError("Envoy had ended when the trace was taken", "draft from a run that is up")
    groups: dict[tuple[str, Address], list[KernelSocket]] = {}
    for socket in graph.listening():
        if socket.address is None or socket.is_hot_restart or not socket.is_live:
            continue
        groups.setdefault((socket.protocol_name, socket.address), []).append(socket)
    if not groups:
        raise DraftError("the trace has no listening socket", "draft from a run that has one")
    workers = trace.header.concurrency or len(graph.workers())
    by_listen = "epoll" in trace.header.unobserved
    sets = tuple(
        _set(trace, protocol, address, tuple(sockets), by_listen)
        for (protocol, address), sockets in groups.items()
        if protocol in ("TCP", "MPTCP", "UDP", "UNIX")
    )
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


def _set(
    trace: Trace,
    protocol: str,
    address: Address,
    sockets: tuple[KernelSocket, ...],
    by_listen: bool,
) -> SocketSet:
    asked = next((s.requested for s in sockets if s.requested and s.requested.port == 0), address)
    serving = serving_of(sockets, by_listen)
    roles = {entry.thread.role.partition("_")[0] for entry in serving}
    role = {"main": "main", "worker": "workers"}.get(roles.pop(), "") if len(roles) == 1 else ""
    first = sockets[0]
    options = tuple(
        DraftOption(
            o.level,
            o.name,
            # A value with parts differs between machines, as that of a packet filter does.
            None if o.name in _POINTERS or isinstance(o.value, dict) else o.value,
            o.phase,
        )
        for o in first.options
    )
    made = [sum(e.call == "setsockopt" for e in _succeeded(socket)) for socket in sockets]
    backlogs = {call.event.args["backlog"] for socket in sockets for call in socket.listens}
    live = [d for socket in sockets for d in socket.descriptors if d.is_open]
    rooted = asked if asked.port == 0 else address
    record = _record(trace.header.listeners, protocol, rooted)
    found = SocketSet(
        record.name if record else str(address),
        address,
        protocol,
        sum(len(socket.binds) for socket in sockets),
        len(live),
        role,
        "" if role == "main" else shape_of(serving, sockets),
        options,
        sum(made),
        backlogs.pop() if len(backlogs) == 1 else None,
    )
    return replace(found, address=rooted) if record else found


def _succeeded(socket: KernelSocket) -> list[Event]:
    return [call.event for call in socket.calls if call.event.errno is None]


def _record(
    records: tuple[ListenerRecord, ...], protocol: str, address: Address
) -> ListenerRecord | None:
    plain = "TCP" if protocol == "MPTCP" else protocol
    found = [r for r in records if r.protocol == plain and address in r.addresses]
    return found[0] if len(found) == 1 else None
