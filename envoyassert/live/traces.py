"""Traces of Envoys that something else started: when one is whole, and what is made of several.

Several recordings as one are those of the Envoys of a hot restart, each recorded by itself. The
trace of each Envoy has a file name that no other has, and it can stand in for a config that is not
at hand: it has the listeners.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from envoyassert.accounts import EnvoyListener
from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.graph.model import SocketGraph
from envoyassert.trace import CpuCounters, Header, ListenerRecord, Trace

#: More CPUs than a machine has; so many recordings fit into the number of a CPU.
_CPUS = 4096
MOST_EPOCHS = 16

Part = tuple[Sequence[Event], Sequence[CpuCounters]]


def joined_epochs(parts: Sequence[Part]) -> tuple[list[Event], tuple[CpuCounters, ...]]:
    """Return the events and the counters of several recordings as those of one.

    Each recording numbers its records on each CPU. So they are kept on CPUs of their own: what one
    of them lost is missing there still, and is lost between the same two of its records.

    Args:
        parts: events and counters of each recording, at most MOST_EPOCHS; the first one keeps the
            numbers of its CPUs.

    Raises:
        ValueError: there are more of them, or the machine has more CPUs.
    """
    events: list[Event] = []
    cpus: list[CpuCounters] = []
    if len(parts) > MOST_EPOCHS or any(one.cpu >= _CPUS for _, own in parts for one in own):
        raise ValueError(f"more than {MOST_EPOCHS} recordings, or {_CPUS} CPUs")
    for number, (own_events, own_cpus) in enumerate(parts):
        first = number * _CPUS
        events += [_on_cpu(event, first + event.cpu) for event in own_events]
        cpus += [replace(one, cpu=first + one.cpu) for one in own_cpus]
    events.sort(key=lambda event: event.ts_ns)
    return events, tuple(cpus)


def _on_cpu(event: Event, cpu: int) -> Event:
    if event.cpu == cpu:
        return event
    return Event(
        *(event.ts_ns, event.pid, event.tid, event.call, event.ret, event.args),
        *(cpu, event.seq, event.fault, event.stack),
    )


def file_name(trace: Trace, now_ns: int, again: int = 1) -> str:
    """Return the name of a trace's file: by its pod, or by its process, and by its start.

    Args:
        trace: the trace.
        now_ns: the time of day, in ns since 1970, when its last record had been read.
        again: how often a name was asked for: the second one differs from the first.
    """
    where = trace.header.where
    ago_ns = max(0, trace.end.ended_ns - trace.header.began_ns)
    start = datetime.fromtimestamp((now_ns - ago_ns) / 1e9, timezone.utc)
    parts = [where.get(key, "") for key in ("namespace", "pod", "container_name")]
    if not where.get("pod"):
        pid = trace.events[0].pid if trace.events else 0
        parts = ["envoy", str(pid)]
    parts = [re.sub(r"[^A-Za-z0-9.-]", "-", part) for part in parts if part]
    number = "" if again == 1 else f"_{again}"
    return f"{'_'.join(parts)}_{start:%Y%m%dT%H%M%SZ}{number}.ndjson"


def serving_shape(graph: SocketGraph) -> Hashable:
    """Return what is compared to see whether anything has changed of the listening sockets.

    Connections come and go, and change nothing of it.
    """
    return tuple(
        (
            socket.number,
            socket.is_live,
            tuple((one.pid, one.fd, one.is_open) for one in socket.descriptors),
            tuple(sorted(thread.tid for thread in graph.servers_of(socket))),
        )
        for socket in graph.listening()
    )


def is_served(graph: SocketGraph) -> bool:
    """Return whether some thread waits on each socket that listens.

    Of Envoy's own sockets for hot restart one is there for the next Envoy alone.
    """
    return all(
        graph.servers_of(socket)
        for socket in graph.listening()
        if socket.is_live and not socket.is_hot_restart
    )


def listener_record(listener: EnvoyListener, graph: SocketGraph) -> ListenerRecord:
    """Return the record of a listener that Envoy lists and its config does not have.

    Args:
        listener: what Envoy says of it, which is not its protocol.
        graph: the sockets: one that has its first address has its protocol.
    """
    protocol = "TCP"
    for address in listener.addresses[:1]:
        protocol = "TCP" if address.is_ip else "UNIX"
        found = {socket.protocol_name for socket in graph.listening() if socket.address == address}
        if found == {"UDP"}:
            protocol = "UDP"
    return ListenerRecord(listener.name, protocol, listener.addresses, "lds")


def config_of_trace(header: Header) -> dict[str, Any]:
    """Return a bootstrap with the names and addresses of a trace's listeners, and nothing else.

    By it a scenario without a config of its own may name them.
    """
    admin = next((one for one in header.listeners if one.kind == "admin"), None)
    listeners = [_listener(one) for one in header.listeners if one.kind != "admin"]
    config: dict[str, Any] = {"static_resources": {"listeners": listeners}}
    if admin is not None and admin.addresses:
        config["admin"] = {"address": _address(admin.addresses[0], admin.protocol)}
    return config


def _listener(record: ListenerRecord) -> dict[str, Any]:
    if not record.addresses:
        return {"name": record.name, "internal_listener": {}}
    first, *more = (_address(one, record.protocol) for one in record.addresses)
    found: dict[str, Any] = {"name": record.name, "address": first}
    if more:
        found["additional_addresses"] = [{"address": one} for one in more]
    return found


def _address(address: Address, protocol: str) -> dict[str, Any]:
    if not address.is_ip:
        return {"pipe": {"path": address.path or f"@{address.abstract}"}}
    place: dict[str, Any] = {"address": address.host, "port_value": address.port}
    if protocol == "UDP":
        place["protocol"] = "UDP"
    if address.netns:
        place["network_namespace_filepath"] = address.netns
    return {"socket_address": place}
