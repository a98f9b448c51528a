"""The story of a run as data: start-up in phases, then what every listening socket came to be.

`story_of` makes the JSON form; `envoyassert.report.story_text` prints the same facts for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from envoyassert.addresses import Address
from envoyassert.calls import CALLS
from envoyassert.calls.row import Phase, address_text
from envoyassert.durations import duration_in_words
from envoyassert.graph.model import Call, Descriptor, KernelSocket, SocketGraph
from envoyassert.graph.passes import Pass
from envoyassert.judge.value_json import to_json
from envoyassert.judge.verdict import Certificate
from envoyassert.report.call import Clock, render_call, thread_label
from envoyassert.report.state import without_history
from envoyassert.report.story_parts import accounts_of, describe_call_sites, describe_steps
from envoyassert.state import is_state
from envoyassert.texts.facts import text
from envoyassert.trace import Trace
from envoyassert.words.startup import Figure, startup_figures

FORMAT = "envoyassert-story/1"

_ACCEPTING = ("accept", "accept4")


def story_of(trace: Trace, graph: SocketGraph, certificate: Certificate) -> dict[str, Any]:
    """Return everything worth knowing about a run as plain JSON types.

    Args:
        trace: the run.
        graph: its socket graph.
        certificate: what is known of its completeness.
    """
    clock = Clock(trace)
    header = trace.header
    listening = list(graph.listening())
    shown = set(listening)
    rest = [
        socket
        for socket in graph.sockets
        if socket not in shown and not socket.is_probe and socket.origin != "accept"
    ]
    names = _listeners(trace)
    outcome = trace.end.outcome
    envoys = {thread.pid for thread in graph.threads.values() if thread.of_envoy}
    story = {
        "format": FORMAT,
        "scenario": header.scenario,
        "matrix": dict(header.matrix),
        "envoy": {
            "version": header.envoy.version,
            "build_id": header.envoy.build_id,
            "source": header.envoy.source,
            "image_digest": header.envoy.image_digest,
        },
        "launcher": header.launcher,
        "where": dict(header.where),
        "concurrency": header.concurrency,
        "kernel": header.kernel,
        "unobserved": list(header.unobserved),
        "stood_in": list(header.stood_in),
        "events": len(trace.events),
        "last_event_ms": clock.ms(trace.events[-1].ts_ns) if trace.events else None,
        "outcome": {
            "live": outcome.live,
            "live_after_s": outcome.live_after_s,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
        },
        "start_up": _start_up(startup_figures(trace, graph)),
        "processes": [
            {
                "pid": process.pid,
                "inner_pid": header.inner_pids.get(str(process.pid)),
                "envoy": process.pid in envoys,
                "parent": process.parent,
                "filename": process.filename,
                "argv": list(process.argv),
                "status": process.status,
                "signal": process.signal,
                "exited_ms": None if process.exited_ns is None else clock.ms(process.exited_ns),
            }
            for process in graph.processes.values()
        ],
        "threads": [
            {
                "tid": thread.tid,
                "pid": thread.pid,
                "role": thread.role,
                "name": thread.name,
                "created_ms": None if thread.created_ns is None else clock.ms(thread.created_ns),
            }
            for thread in graph.threads.values()
        ],
        "phases": {phase.value: list(_steps(graph, listening, phase, clock)) for phase in Phase},
        "steps": describe_steps(trace, clock),
        "listening": [_listening(graph, socket, names.get(_place(socket))) for socket in listening],
        "called_from": describe_call_sites(listening, trace.symbols),
        "failed_binds": [
            {
                "at_ms": clock.ms(call.event.ts_ns),
                "thread": thread_label(graph, call.thread.tid),
                "socket": socket.number,
                "call": render_call(call.event),
            }
            for socket in graph.sockets
            for call in socket.failed_binds
            if not socket.is_probe
        ],
        "other_sockets": [_other(graph, socket) for socket in rest],
        "probes": sum(socket.is_probe for socket in graph.sockets),
        "accepted": _accepted(graph),
        "tripwires": [render_call(event) for event in graph.tripwires],
        "ignored": dict(graph.ignored),
        "accounts": accounts_of(trace),
        "certificate": [
            {
                "name": check.name,
                "ok": check.ok,
                "detail": text(check.found),
                "found": to_json(check.found),
            }
            for check in certificate.checks
        ],
    }
    if is_state(header.unobserved) and trace.witness is not None:
        return without_history(story, trace.witness, listening)
    return story


def _phase(call: Call, listens: Iterable[Call]) -> Phase | None:
    """Return the phase a call belongs to, None for one that the story leaves out."""
    if call.event.call == "setsockopt":
        listened = any(one.event.ts_ns < call.event.ts_ns for one in listens)
        return Phase.LISTENING if listened else Phase.MADE
    return CALLS[call.event.call].phase


def _steps(
    graph: SocketGraph, sockets: list[KernelSocket], phase: Phase, clock: Clock
) -> Iterator[dict[str, Any]]:
    """Yield what happened in one phase: the calls of one thread on one socket are one step."""
    groups: dict[tuple[int, int], list[Call]] = {}
    for socket in sockets:
        for call in socket.calls:
            if _phase(call, socket.listens) == phase:
                groups.setdefault((socket.number, call.thread.tid), []).append(call)
    for (number, tid), calls in sorted(groups.items(), key=lambda item: item[1][0].event.ts_ns):
        yield {
            "at_ms": clock.ms(calls[0].event.ts_ns),
            "at": clock.text(calls[0].event.ts_ns),
            "thread": thread_label(graph, tid),
            "socket": number,
            "calls": [render_call(call.event) for call in calls],
            "calls_at_ms": [clock.ms(call.event.ts_ns) for call in calls],
            "calls_at": [clock.text(call.event.ts_ns) for call in calls],
        }


def _listening(graph: SocketGraph, socket: KernelSocket, listener: str | None) -> dict[str, Any]:
    state = "LISTEN" if socket.listens else "UNCONN"
    return {
        "socket": socket.number,
        "listener": listener,
        "hot_restart": socket.is_hot_restart,
        "protocol": socket.protocol_name,
        "type": socket.type,
        "state": state if socket.is_live else "CLOSED",
        "address": address_text(socket.address),
        "requested": address_text(socket.requested),
        "origin": socket.origin,
        "passed": [_passed(graph, handed) for handed in socket.passes],
        "backlog": socket.listens[-1].event.args.get("backlog") if socket.listens else None,
        "bound_by": _roles(graph, socket.binds),
        "listened_by": _roles(graph, socket.listens),
        "served_by": [thread_label(graph, thread.tid) for thread in graph.servers_of(socket)],
        "options": [
            {"level": item.level, "name": item.name, "value": item.value, "phase": item.phase}
            for item in socket.options
        ],
        "descriptors": _descriptors(graph, socket),
        "connections": sum(
            call.event.call in _ACCEPTING and call.event.ok for call in socket.calls
        ),
    }


def _descriptors(graph: SocketGraph, socket: KernelSocket) -> list[dict[str, Any]]:
    listens: dict[Descriptor, list[Call]] = {}
    for call in socket.calls:
        if call.descriptor is not None and call.event.call == "listen":
            listens.setdefault(call.descriptor, []).append(call)
    return [_descriptor(graph, one, listens.get(one, [])) for one in socket.descriptors]


def _descriptor(graph: SocketGraph, descriptor: Descriptor, listens: list[Call]) -> dict[str, Any]:
    waiting: list[str] = []
    for registration in descriptor.registrations:
        if registration.is_live:
            waiting += [thread_label(graph, thread.tid) for thread in registration.epoll.waiters]
    return {
        "pid": descriptor.pid,
        "fd": descriptor.fd,
        "origin": descriptor.origin,
        "copy_of": descriptor.source.fd if descriptor.source else None,
        "open": descriptor.is_open,
        "waited_on_by": list(dict.fromkeys(waiting)),
        "used_by": _roles(graph, listens),
    }


def _passed(graph: SocketGraph, handed: Pass) -> str:
    """Return who handed a socket to whom."""
    ends = [
        "a process that is not traced" if event is None else thread_label(graph, event.tid)
        for event in (handed.sent, handed.received)
    ]
    return f"by {ends[0]} to {ends[1]}"


def _roles(graph: SocketGraph, calls: Iterable[Call]) -> list[str]:
    return list(dict.fromkeys(thread_label(graph, call.thread.tid) for call in calls))


def _listeners(trace: Trace) -> dict[tuple[Address | None, str], str]:
    """Return the names that the config has, by address and protocol; of several the first."""
    found: dict[tuple[Address | None, str], str] = {}
    for listener in trace.header.listeners:
        for address in listener.addresses:
            found.setdefault((address, listener.protocol_at(address)), listener.name)
    return found


def _place(socket: KernelSocket) -> tuple[Address | None, str]:
    protocol = "TCP" if socket.protocol_name == "MPTCP" else socket.protocol_name
    return socket.requested, protocol


def _other(graph: SocketGraph, socket: KernelSocket) -> dict[str, Any]:
    return {
        "socket": socket.number,
        "protocol": socket.protocol_name or "unknown",
        "type": socket.type,
        "origin": socket.origin,
        "address": None if socket.address is None else address_text(socket.address),
        "open": socket.is_live,
        "threads": _roles(graph, socket.calls),
        "calls": [render_call(call.event) for call in socket.calls],
    }


def _accepted(graph: SocketGraph) -> dict[str, int]:
    """Return how many connections each thread accepted."""
    counts: dict[str, int] = {}
    for socket in graph.sockets:
        if socket.origin == "accept":
            label = thread_label(graph, socket.born.tid)
            counts[label] = counts.get(label, 0) + 1
    return counts


def _start_up(figures: dict[str, Figure]) -> dict[str, str]:
    """Return the parts of a start in words: how long none of them took is negative."""
    described = {}
    for name, figure in figures.items():
        if figure.known and figure.high_ns < 0:
            # Envoy said LIVE before the last socket was served.
            described["live_to_served"] = text(Figure(-figure.high_ns, -figure.low_ns).value)
        elif figure.known and figure.low_ns < 0:
            described[name] = f"at most {duration_in_words(figure.high_ns)}"
        else:
            described[name] = text(figure.value)
    return described
