"""The atoms of a `listener` expectation, one function per word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from envoyassert.graph.model import KernelSocket
from envoyassert.guard import guarded
from envoyassert.judge.arrival import judge_origin, judge_registered
from envoyassert.judge.backlog import judge_backlog
from envoyassert.judge.connections import judge_connections
from envoyassert.judge.context import EVIDENCE_LIMIT, UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.each import groups_of_calls, judge_each
from envoyassert.judge.interval import plural
from envoyassert.judge.join import judge_let_of_listener
from envoyassert.judge.listed import judge_listed
from envoyassert.judge.nearest import failed_binds, nearest_listener
from envoyassert.judge.options import judge_only_options, judge_options
from envoyassert.judge.order import judge_order_on_socket
from envoyassert.judge.reachable import judge_reachable
from envoyassert.judge.roles import judge_callers, judge_threads, matches_role, roles_in_words
from envoyassert.judge.selection import Selection, select, select_each
from envoyassert.judge.shape import HINTS, shape_in_words, shape_of
from envoyassert.judge.socket_file import judge_socket_file
from envoyassert.judge.tally import judge_descriptors, judge_sockets
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.expectation import (
    BindFailed,
    Bound,
    Count,
    ListenCalls,
    Listened,
    ListenerExpectation,
    Selector,
)
from envoyassert.scenario.option_value import OnlyOptions


def judge_listener(
    context: Context, index: int, expectation: ListenerExpectation
) -> Iterator[Finding]:
    """Judge one `listener` item, atom by atom."""
    selector = expectation.listener
    name = str(selector)
    subject = Subject(name, ("expect", index), expectation.why or "")
    graph, listeners = context.graph, context.trace.header.listeners
    if expectation.take == "each_address":
        parts = select_each(selector, graph, listeners)
    else:
        parts = {"": select(selector, graph, listeners, total=expectation.take == "total")}
    for address, selection in parts.items():
        part = Subject(f"{name} {address}".rstrip(), subject.path, subject.why)
        yield from _judge_part(context, part, selection, expectation)


def _judge_part(
    context: Context, subject: Subject, selection: Selection, expectation: ListenerExpectation
) -> Iterator[Finding]:
    """Judge every atom on what was selected: one address, or all of them together."""
    context.named.update(id(socket) for socket in selection.sockets)
    if selection.problem:
        yield context.finding(
            subject.at("listener"),
            Status.INCONCLUSIVE,
            "one listener",
            "no single listener",
            reason=selection.problem,
        )
        return
    selector = expectation.listener
    role = expectation.listened.by if expectation.listened else expectation.served_by or ""
    failed = tuple(call for call in selection.failed if context.in_window(call.event))
    target = Target(
        context, subject, selection.sockets, failed, selector, selection.addresses, role
    )
    for word, judge in _ATOMS.items():
        value = getattr(expectation, word)
        if value is not None:
            for finding in judge(target, word, value):
                yield _with_nearest(target, selector, word, finding)


def _with_nearest(target: Target, selector: Selector, word: str, finding: Finding) -> Finding:
    """Add to a finding about sockets that are not there what comes closest to them."""
    if finding.status is Status.PASS or word == "bind_failed":
        return finding
    if target.failed and (word == "bound" or not target.sockets):
        closest = failed_binds(target.failed)
        evidence = finding.evidence or tuple(call.event for call in target.failed[:EVIDENCE_LIMIT])
        return replace(finding, closest=closest, evidence=evidence)
    if target.sockets or not target.context.trace.end.outcome.running:
        return finding  # an Envoy that ended had no time to bind anything else
    graph, listeners = target.context.graph, target.context.trace.header.listeners
    return guarded(
        lambda: replace(finding, closest=nearest_listener(selector, graph, listeners)),
        lambda fault: replace(finding, hint=fault),
    )


def _bound(target: Target, word: str, value: Bound) -> Iterator[Finding]:
    calls = target.calls("binds")
    subject = target.subject.at(word, "times")
    # The address stands in the call's own arguments, so a bind is sure whatever was lost.
    yield target.context.judge_times(
        subject, "bound", value.times, calls, hint=target.hint, from_events=True
    )
    if value.by is not None:
        by = target.subject.at(word, "by")
        yield judge_callers(target.context, by, "bound by", value.by, calls)


def _bind_failed(target: Target, word: str, value: BindFailed) -> Iterator[Finding]:
    calls = [call for call in target.failed if value.errno in (None, call.event.errno)]
    verb = f"bind failed with {value.errno}" if value.errno else "bind failed"
    yield target.context.judge_times(
        target.subject.at(word, "times"), verb, value.times, calls, from_events=True
    )
    if value.by is not None:
        by = target.subject.at(word, "by")
        yield judge_callers(target.context, by, "bind failed by", value.by, calls)


def _listened(target: Target, word: str, value: Listened) -> Iterator[Finding]:
    yield _judge_servers(target, target.subject.at(word, "by"), "listened by", value.by)
    if value.via is not None:
        yield _judge_via(target, target.subject.at(word, "via"), value.via)


def _judge_servers(target: Target, subject: Subject, verb: str, role: str) -> Finding:
    if target.context.by_listen:
        verb = f"{verb} (by listen(), for epoll was not observed)"
    serving, taking = target.serving, target.taking
    sure = [(e.thread, e.certain) for e in serving] + [(c.thread, c.certain) for c in taking]
    threads = list(dict.fromkeys(thread for thread, _ in sure))
    hint = ""
    if target.standing and not threads:
        hint = "a socket listens, but no thread waits for it: clients connect and hang"
    return judge_threads(
        target.context,
        subject,
        verb,
        role,
        threads,
        evidence=[entry.since.event for entry in serving] + [call.event for call in taking],
        certain=any(certain for thread, certain in sure if not matches_role(thread, role)),
        hint=hint,
    )


def _served_by(target: Target, word: str, value: str) -> Iterator[Finding]:
    subject = target.subject.at(word)
    if target.context.by_listen:
        yield target.context.finding(
            subject,
            Status.INCONCLUSIVE,
            f"served by {value}",
            f"listen() called by {roles_in_words(call.thread for call in target.calls('listens'))}",
            reason="epoll was not observed; `listened` falls back on listen()",
        )
    else:
        yield _judge_servers(target, subject, "served by", value)


def _listen_by(target: Target, word: str, value: str) -> Iterator[Finding]:
    calls = target.calls("listens")
    yield judge_callers(target.context, target.subject.at(word), "listen() called by", value, calls)


def _via(target: Target, word: str, value: str) -> Iterator[Finding]:
    yield _judge_via(target, target.subject.at(word), value)


def _judge_via(target: Target, subject: Subject, via: str) -> Finding:
    context, serving, standing = target.context, target.serving, target.standing
    shape = shape_of(serving, standing)
    threads = {entry.thread for entry in serving}
    seen = shape_in_words(serving, standing)
    workers = sum(matches_role(thread, "workers") for thread in threads)
    if workers and not target.role and workers != context.workers:
        # Each way is one of reaching every worker, so one that reaches fewer is none of them.
        # Where the scenario says who serves, that word tells who is missing.
        shape = ""
        seen += f" of {plural(context.workers, 'worker')}"
    if workers and context.workers < 1:
        return context.finding(
            subject, Status.INCONCLUSIVE, f"served via {via}", seen, reason=UNKNOWN_WORKERS
        )
    if shape == via or (shape == "dup" and via == "shared_fd" and len(threads) == 1):
        status = Status.INCONCLUSIVE if context.doubt else Status.PASS
    elif context.doubt and not _contradicts(target, via):
        status = Status.INCONCLUSIVE
    else:
        status = Status.FAIL
    return context.finding(
        subject,
        status,
        f"served via {via}",
        seen,
        evidence=[call.event for call in target.calls("binds")]
        + [entry.since.event for entry in serving],
        hint=HINTS.get(shape, ""),
    )


def _contradicts(target: Target, via: str) -> bool:
    """Whether what was seen for certain already rules `via` out, whatever was lost."""
    if via == "reuse_port":
        holders: dict[KernelSocket, set[int]] = {}
        for entry in target.serving:
            if entry.certain:
                holders.setdefault(entry.descriptor.socket, set()).add(entry.thread.tid)
        return any(len(tids) > 1 for tids in holders.values())
    sure = [
        socket
        for socket in target.standing
        if all(d.tainted_ns is None for d in socket.descriptors)
    ]
    return len(sure) > 1


def _listen_calls(target: Target, word: str, value: Count | ListenCalls) -> Iterator[Finding]:
    calls = target.calls("listens")
    subject = target.subject.at(word)
    if not isinstance(value, ListenCalls):
        yield target.context.judge_times(subject, "listen() called", value, calls)
        return
    if value.each is None:
        yield target.context.judge_times(
            subject.at("times"), "listen() called", value.times, calls, hint=target.hint
        )
    else:
        groups = groups_of_calls(target.context, calls, value.each, target.sockets)
        yield judge_each(
            target.context, subject.at("times"), value.each, "listen() called", value.times, groups
        )
    if value.by is not None:
        by = subject.at("by")
        yield judge_callers(target.context, by, "listen() called by", value.by, calls)


def _options(target: Target, word: str, value: dict[str, Any]) -> Iterator[Finding]:
    yield from judge_options(target.context, target.subject.at(word), target.sockets, value)


def _only_options(target: Target, word: str, value: OnlyOptions) -> Iterator[Finding]:
    yield judge_only_options(target.context, target.subject.at(word), target.sockets, value)


def _in_order(target: Target, word: str, value: tuple[Any, ...]) -> Iterator[Finding]:
    subject = target.subject.at(word)
    if not target.sockets:
        status = Status.INCONCLUSIVE if target.context.doubt else Status.FAIL
        yield target.context.finding(subject, status, "calls in order", "no socket was bound")
    for socket in target.sockets:
        events = [call.event for call in socket.calls]
        yield judge_order_on_socket(target.context, subject, value, events)


def _let(target: Target, word: str, value: dict[str, Any]) -> Iterator[Finding]:
    return judge_let_of_listener(target, target.subject.at(word), value)


_ATOMS: dict[str, Callable[[Target, str, Any], Iterator[Finding]]] = {
    "let": _let,
    "bound": _bound,
    "bind_failed": _bind_failed,
    "listened": _listened,
    "served_by": _served_by,
    "listen_by": _listen_by,
    "via": _via,
    "origin": judge_origin,
    "registered": judge_registered,
    "sockets": judge_sockets,
    "descriptors": judge_descriptors,
    "listen_calls": _listen_calls,
    "options": _options,
    "only_options": _only_options,
    "backlog": judge_backlog,
    "socket_file": judge_socket_file,
    "reachable_by_address": judge_reachable,
    "listed_without_socket": judge_listed,
    "connections": judge_connections,
    "in_order": _in_order,
}
