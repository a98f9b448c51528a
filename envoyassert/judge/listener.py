"""The atoms of a `listener` expectation, one function per word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from envoyassert.graph.model import Call, KernelSocket
from envoyassert.judge.context import EVIDENCE_LIMIT, UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.interval import Interval, plural, times
from envoyassert.judge.nearest import failed_binds, nearest_listener
from envoyassert.judge.options import judge_options
from envoyassert.judge.order import judge_order_on_socket
from envoyassert.judge.roles import judge_callers, judge_threads, matches_role, roles_in_words
from envoyassert.judge.selection import select
from envoyassert.judge.shape import HINTS, Serving, serving_of, shape_in_words, shape_of
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.expectation import (
    Backlog,
    BindFailed,
    Bound,
    Count,
    ListenCalls,
    Listened,
    ListenerExpectation,
    Selector,
    Tally,
)


@dataclass(frozen=True)
class Target:
    """The listener under judgement: its sockets, and the binds that would have made more.

    `role` is who should serve it, by the scenario; "" if the scenario does not say.
    """

    context: Context
    subject: Subject
    sockets: tuple[KernelSocket, ...]
    failed: tuple[Call, ...]
    role: str = ""

    def calls(self, name: str) -> list[Call]:
        """Return the successful bind or listen calls in time order."""
        calls = [call for socket in self.sockets for call in getattr(socket, name)]
        return sorted(calls, key=lambda call: call.event.ts_ns)

    @property
    def standing(self) -> tuple[KernelSocket, ...]:
        """The sockets that accept connections or datagrams at the end."""
        return tuple(socket for socket in self.sockets if socket.is_open_to_clients)

    @property
    def serving(self) -> list[Serving]:
        """Who serves which of its descriptors at the end."""
        return serving_of(self.sockets, self.context.by_listen)

    @property
    def hint(self) -> str:
        """What the observed shape is, in terms of the config."""
        return HINTS.get(shape_of(self.serving, self.standing), "")


def judge_listener(
    context: Context, index: int, expectation: ListenerExpectation
) -> Iterator[Finding]:
    """Judge one `listener` item, atom by atom."""
    selector = expectation.listener
    name = f"listener {selector.name}" if selector.name else str(selector)
    subject = Subject(name, ("expect", index), expectation.why or "")
    selection = select(selector, context.graph, context.trace.header.listeners)
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
    role = expectation.listened.by if expectation.listened else expectation.served_by or ""
    target = Target(context, subject, selection.sockets, selection.failed, role)
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
    return replace(finding, closest=nearest_listener(selector, graph, listeners))


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
    serving = target.serving
    threads = list(dict.fromkeys(entry.thread for entry in serving))
    hint = ""
    if target.standing and not threads:
        hint = "a socket listens, but no thread waits for it: clients connect and hang"
    return judge_threads(
        target.context,
        subject,
        verb,
        role,
        threads,
        evidence=[entry.since.event for entry in serving],
        certain=any(e.certain for e in serving if not matches_role(e.thread, role)),
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


def _sockets(target: Target, word: str, value: Count | Tally) -> Iterator[Finding]:
    live = [socket for socket in target.sockets if socket.is_live]
    served = {entry.descriptor.socket for entry in target.serving}
    groups = {
        "ever": list(target.sockets),
        "live": live,
        "serving": [socket for socket in live if socket in served],
        "spare": [socket for socket in live if socket not in served],
    }
    yield from _tally(
        target,
        word,
        value,
        "kernel socket",
        groups,
        lambda name, socket: (
            name == "ever"
            or (name != "spare" and all(d.tainted_ns is None for d in socket.descriptors))
        ),
        lambda socket: [call.event for call in socket.binds],
    )


def _descriptors(target: Target, word: str, value: Count | Tally) -> Iterator[Finding]:
    ever = [descriptor for socket in target.sockets for descriptor in socket.descriptors]
    live = [descriptor for descriptor in ever if descriptor.is_open]
    served = {entry.descriptor for entry in target.serving}
    groups = {
        "ever": ever,
        "live": live,
        "serving": [descriptor for descriptor in live if descriptor in served],
        "spare": [descriptor for descriptor in live if descriptor not in served],
    }
    yield from _tally(
        target,
        word,
        value,
        "descriptor",
        groups,
        lambda name, descriptor: name != "spare" and descriptor.tainted_ns is None,
        lambda descriptor: [descriptor.opened],
    )


def _tally(
    target: Target,
    word: str,
    value: Count | Tally,
    noun: str,
    groups: dict[str, list[Any]],
    is_certain: Callable[[str, Any], bool],
    evidence_of: Callable[[Any], list[Any]],
) -> Iterator[Finding]:
    """Judge counts by kind; a plain count means those that are live at the end."""
    if isinstance(value, Tally):
        wishes = {name: getattr(value, name) for name in groups}
    else:
        wishes = {"live": value}
    for name, wish in wishes.items():
        if wish is None:
            continue
        members = groups[name]
        certain = sum(is_certain(name, member) for member in members)
        wanted = target.context.wish(wish)
        path = (word, name) if isinstance(value, Tally) else (word,)
        unobserved = target.context.by_listen and name in ("serving", "spare")
        if wanted is None or unobserved:
            yield target.context.finding(
                target.subject.at(*path),
                Status.INCONCLUSIVE,
                f"a count of {noun}s ({name})",
                f"{plural(len(members), noun)} ({name})",
                reason="epoll was not observed" if unobserved else UNKNOWN_WORKERS,
            )
            continue
        yield target.context.finding(
            target.subject.at(*path),
            target.context.interval(certain, len(members)).compare(wanted),
            f"{_how_many(wanted, noun)} ({name})",
            f"{plural(len(members), noun)} ({name})",
            evidence=[event for member in members for event in evidence_of(member)],
            hint=target.hint,
        )


def _how_many(wish: Interval, noun: str) -> str:
    if wish.low == wish.high:
        return plural(wish.low, noun)
    return times(wish).replace("times", f"{noun}s").replace("time", noun)


def _listen_calls(target: Target, word: str, value: Count | ListenCalls) -> Iterator[Finding]:
    calls = target.calls("listens")
    subject = target.subject.at(word)
    if not isinstance(value, ListenCalls):
        yield target.context.judge_times(subject, "listen() called", value, calls)
        return
    yield target.context.judge_times(
        subject.at("times"), "listen() called", value.times, calls, hint=target.hint
    )
    if value.by is not None:
        by = subject.at("by")
        yield judge_callers(target.context, by, "listen() called by", value.by, calls)


def _backlog(target: Target, word: str, value: int | Backlog) -> Iterator[Finding]:
    wanted = value.requested if isinstance(value, Backlog) else value
    subject = target.subject.at(word)
    if isinstance(value, Backlog):
        subject = subject.at("requested")
    calls = target.calls("listens")
    wrong = [call for call in calls if call.event.args["backlog"] != wanted]
    context = target.context
    if any(call.certain for call in wrong) or (not context.doubt and (wrong or not calls)):
        status = Status.FAIL
    else:
        status = Status.INCONCLUSIVE if context.doubt else Status.PASS
    seen = sorted({call.event.args["backlog"] for call in calls})
    yield context.finding(
        subject,
        status,
        f"every listen() with backlog {wanted}",
        f"backlog {', '.join(map(str, seen))}" if seen else "no listen() call",
        evidence=[call.event for call in (wrong or calls)],
    )


def _options(target: Target, word: str, value: dict[str, Any]) -> Iterator[Finding]:
    yield from judge_options(target.context, target.subject.at(word), target.sockets, value)


def _in_order(target: Target, word: str, value: tuple[Any, ...]) -> Iterator[Finding]:
    subject = target.subject.at(word)
    if not target.sockets:
        status = Status.INCONCLUSIVE if target.context.doubt else Status.FAIL
        yield target.context.finding(subject, status, "calls in order", "no socket was bound")
    for socket in target.sockets:
        events = [call.event for call in socket.calls]
        yield judge_order_on_socket(target.context, subject, value, events)


_ATOMS: dict[str, Callable[[Target, str, Any], Iterator[Finding]]] = {
    "bound": _bound,
    "bind_failed": _bind_failed,
    "listened": _listened,
    "served_by": _served_by,
    "listen_by": _listen_by,
    "via": _via,
    "sockets": _sockets,
    "descriptors": _descriptors,
    "listen_calls": _listen_calls,
    "options": _options,
    "backlog": _backlog,
    "in_order": _in_order,
}
