"""Near misses: what comes closest to a listener or a call that is not there, field by field."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from envoyassert.addresses import Address, canonical_host
from envoyassert.events import Event
from envoyassert.graph.model import Call, KernelSocket, SocketGraph
from envoyassert.judge.near import FailedBinds, Mismatch, NearCall, NearListener
from envoyassert.judge.roles import names_of
from envoyassert.judge.values import Fact
from envoyassert.scenario.selector import OWN, Selector
from envoyassert.trace import ListenerRecord

#: A near miss of a call may differ in this many fields; one that differs in more is none.
MAX_DIFFERENCES = 2


def nearest_listener(
    selector: Selector, graph: SocketGraph, listeners: tuple[ListenerRecord, ...]
) -> NearListener | Fact:
    """Return what comes closest to a listener for which no socket was bound.

    Args:
        selector: the listener that was looked for.
        graph: all sockets.
        listeners: listeners by the config.
    """
    found = _nearest_socket(selector, graph, listeners)
    silent = _configured(selector, listeners)
    if silent is not None:
        return Fact("configured_never_bound", listener=silent.name)
    if found is None:
        return Fact("none_of_this_kind")
    socket, address = found
    record = _record_of(socket, listeners)
    name = None if record is None else "" if record.kind == "admin" else record.name
    near = NearListener(
        socket.protocol_name,
        str(address),
        name,
        _differences(selector, socket, address),
    )
    if not socket.binds:
        return replace(near, errno=socket.failed_binds[0].event.errno)
    return replace(
        near,
        bound_by=names_of(call.thread for call in socket.binds),
        served_by=names_of(graph.servers_of(socket)),
    )


def failed_binds(calls: Sequence[Call]) -> FailedBinds:
    """Return binds that failed: where, by whom, how often and with what errors."""
    errors = tuple(sorted({str(call.event.errno) for call in calls}))
    first = calls[0]
    address = first.event.args["address"]
    if first.descriptor is not None:
        address = first.descriptor.socket.asked_for(first)
    who = names_of(call.thread for call in calls)
    return FailedBinds(str(address), who, len(calls), errors)


def _nearest_socket(
    selector: Selector, graph: SocketGraph, listeners: tuple[ListenerRecord, ...]
) -> tuple[KernelSocket, Address] | None:
    candidates = [
        (socket, address)
        for socket in graph.candidates
        for address in [socket.address or next(iter(socket.places), None)]
        if address is not None
        and selector.name is None
        and (address.is_ip if selector.port is not None else address.family == "AF_UNIX")
        and not socket.is_hot_restart
    ]

    def distance(item: tuple[KernelSocket, Address]) -> tuple[bool, int, float, int]:
        socket, address = item
        record = _record_of(socket, listeners)
        return (
            record is not None and record.kind == "admin",
            len(_differences(selector, socket, address)),
            _unlike(selector, address),
            socket.number,
        )

    return min(candidates, key=distance, default=None)


def _unlike(selector: Selector, address: Address) -> float:
    """Return how far the part that is looked for is off, 0 for equal."""
    if isinstance(selector.port, int) and address.port is not None:
        return abs(selector.port - address.port)
    wanted = selector.path or selector.abstract or ""
    there = address.path or address.abstract or ""
    return 1 - difflib.SequenceMatcher(a=wanted, b=there).ratio()


def _differences(
    selector: Selector, socket: KernelSocket, address: Address
) -> tuple[Mismatch, ...]:
    """Return in which fields a socket is not what the selector asks for."""
    host = canonical_host(selector.address) if selector.address is not None else None
    unix = selector.path is not None or selector.abstract is not None
    pairs = [
        ("protocol", "UNIX" if unix else selector.protocol, socket.protocol_name),
        ("address", host, address.host or None),
        ("port", selector.port, address.port),
        ("netns", selector.netns, address.netns or OWN),
        ("path", selector.path, address.path),
        ("abstract", selector.abstract, address.abstract),
    ]
    return tuple(
        Mismatch(field, there, wanted)
        for field, wanted, there in pairs
        if wanted is not None and there is not None and wanted != there
    )


def _record_of(
    socket: KernelSocket, listeners: tuple[ListenerRecord, ...]
) -> ListenerRecord | None:
    return next((r for r in listeners if socket.places & set(r.addresses)), None)


def _configured(selector: Selector, listeners: tuple[ListenerRecord, ...]) -> ListenerRecord | None:
    """Return the listener of the config that is meant, if it is there at all."""
    for record in listeners:
        for address in record.addresses:
            if selector.name is not None:
                if selector.name == record.name:
                    return record
            elif (
                (selector.port, selector.path, selector.abstract)
                == (address.port, address.path, address.abstract)
                and selector.protocol in (None, record.protocol_at(address))
                and (selector.address is None or canonical_host(selector.address) == address.host)
                and selector.namespace in (None, address.netns)
            ):
                return record
    return None


def nearest_call(
    mismatches: Sequence[tuple[Event, tuple[Mismatch, ...]]],
) -> tuple[Event, NearCall] | None:
    """Return the call that differs in the fewest fields, and how; None if none is close.

    Args:
        mismatches: calls of the name that was looked for, with what is wrong.
    """
    close = [item for item in mismatches if 0 < len(item[1]) <= MAX_DIFFERENCES]
    best = min(close, key=lambda item: len(item[1]), default=None)
    return None if best is None else (best[0], NearCall(best[0].call, best[1]))
