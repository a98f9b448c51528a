"""Counts of a listener's sockets and descriptors: ever, at an instant, serving, spare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from envoyassert.events import Event
from envoyassert.graph.model import Descriptor, KernelSocket, Thread
from envoyassert.judge.context import EPOLL_UNOBSERVED, UNKNOWN_WORKERS, Context, cause_of_count
from envoyassert.judge.each import Group, judge_each
from envoyassert.judge.instants import Instant, one_instant
from envoyassert.judge.interval import Interval, count_of
from envoyassert.judge.target import Target
from envoyassert.judge.timeline import listening_spans
from envoyassert.judge.values import (
    Fact,
    Number,
    Things,
    role_name,
    socket_name,
)
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.quantity import Count
from envoyassert.scenario.timing import DescriptorTally, Tally

Kind = Literal["ever", "live", "serving", "spare"]
Noun = Literal["kernel socket", "descriptor"]
KINDS: tuple[Kind, ...] = ("ever", "live", "serving", "spare")


class Census:
    """The sockets, or the descriptors, of a listener by kind, at an instant.

    Args:
        target: the listener.
        descriptors: whether descriptors are counted, and not sockets.
        at_ns: the instant; None for the end.
    """

    def __init__(self, target: Target, descriptors: bool, at_ns: int | None) -> None:
        self._target = target
        self._descriptors = descriptors
        self._at_ns = at_ns
        self.serving = _serving_at(target, at_ns)

    def members(self, kind: Kind) -> list[Any]:
        """Return all of a kind."""
        ever: list[Any] = list(self._target.sockets)
        served: set[Any] = {descriptor.socket for _, descriptor in self.serving}
        if self._descriptors:
            ever = [descriptor for socket in ever for descriptor in socket.descriptors]
            served = {descriptor for _, descriptor in self.serving}
        if kind == "ever":
            return ever
        live = [member for member in ever if self._is_live(member)]
        if kind == "live":
            return live
        return [member for member in live if (member in served) is (kind == "serving")]

    def served_by(self, thread: Thread) -> list[object]:
        """Return what one thread serves."""
        mine = [descriptor for server, descriptor in self.serving if server is thread]
        found = mine if self._descriptors else [descriptor.socket for descriptor in mine]
        return list(dict.fromkeys(found))

    def _is_live(self, member: KernelSocket | Descriptor) -> bool:
        if isinstance(member, Descriptor):
            return _is_open(member, self._at_ns)
        if self._at_ns is not None and member.binds[0].event.ts_ns > self._at_ns:
            return False  # not bound yet
        return any(_is_open(descriptor, self._at_ns) for descriptor in member.descriptors)


def _is_open(descriptor: Descriptor, at_ns: int | None) -> bool:
    if at_ns is None:
        return descriptor.is_open
    closed = descriptor.closed_ns
    return descriptor.opened.ts_ns <= at_ns and (closed is None or closed > at_ns)


def _serving_at(target: Target, at_ns: int | None) -> list[tuple[Thread, Descriptor]]:
    """Return which thread serves which descriptor."""
    if at_ns is None:
        return [(entry.thread, entry.descriptor) for entry in target.serving]
    return [
        (thread, descriptor)
        for socket in target.sockets
        if any(a <= at_ns and (b is None or at_ns < b) for a, b in listening_spans(socket))
        for descriptor in socket.descriptors
        if _is_open(descriptor, at_ns)
        for registration in descriptor.registrations
        if registration.asks_for_input
        and registration.since_ns <= at_ns
        and (registration.until_ns is None or registration.until_ns > at_ns)
        for thread in registration.epoll.waiters
        if thread.exited_ns is None or thread.exited_ns > at_ns
    ]


def judge_tally(
    target: Target, word: str, value: Count | Tally, noun: Noun, *, descriptors: bool
) -> Iterator[Finding]:
    """Judge counts by kind; a plain count means those that are live at the end."""
    if not isinstance(value, Tally):
        yield _judge_kind(target, (word,), noun, "live", value, Census(target, descriptors, None))
        return
    counts = {kind: count for kind in KINDS if (count := getattr(value, kind)) is not None}
    instant: Instant | None = None
    if value.live_at != "end":
        found, problem = one_instant(target.context, value.live_at)
        if target.context.doubt and not problem:
            problem = target.context.doubt
        if problem or found is None:
            yield target.context.finding(
                target.subject.at(word, "live_at"),
                Status.INCONCLUSIVE if problem else Status.FAIL,
                Fact("counts_at_an_instant", noun=noun),
                Fact("not_counted") if problem else Fact("instant_never_came"),
                reason=problem,
            )
            return
        instant = found
    for kind, count in counts.items():
        path = (word, kind)
        censuses = [Census(target, descriptors, at_ns) for at_ns in _times(target, instant)]
        if value.each is not None:
            yield _judge_each(target, path, noun, kind, count, value, censuses)
        else:
            yield _judge_kind(target, path, noun, kind, count, *censuses)


def _times(target: Target, instant: Instant | None) -> list[int | None]:
    """Return the times at which to count: more than one where the instant is an interval."""
    if instant is None:
        return [None]
    between = {
        call.event.ts_ns
        for socket in target.sockets
        for call in socket.calls
        if instant.low_ns < call.event.ts_ns < instant.high_ns
    }
    return [*sorted({instant.low_ns, instant.high_ns, *between})]


def _judge_kind(
    target: Target,
    path: tuple[str, ...],
    noun: Noun,
    kind: Kind,
    count: Count,
    *censuses: Census,
) -> Finding:
    context, subject = target.context, target.subject.at(*path)
    members = censuses[-1].members(kind)
    wanted = context.wanted_interval(count)
    of = Things(noun, kind)
    unobserved = context.by_listen and kind in ("serving", "spare")
    if wanted is None or unobserved:
        return context.finding(
            subject,
            Status.INCONCLUSIVE,
            count_of(of, None),
            Number(of, len(members)),
            reason=EPOLL_UNOBSERVED if unobserved else UNKNOWN_WORKERS,
        )
    possible = _possible(context, kind, [census.members(kind) for census in censuses])
    return context.finding(
        subject,
        possible.compare(wanted),
        count_of(of, wanted),
        Number(of, len(members)),
        reason=None if context.doubt else Fact("count_changes_meanwhile"),
        evidence=[event for member in members for event in _evidence(member)],
        cause=cause_of_count(target.shape, len(members), wanted),
    )


def _judge_each(
    target: Target,
    path: tuple[str, ...],
    noun: Noun,
    kind: Kind,
    count: Count,
    value: Tally,
    censuses: Sequence[Census],
) -> Finding:
    context, subject = target.context, target.subject.at(*path)
    if context.by_listen and kind in ("serving", "spare"):
        return context.finding(
            subject,
            Status.INCONCLUSIVE,
            count_of(Things(noun, kind), None, value.each),
            Fact("not_counted"),
            reason=EPOLL_UNOBSERVED,
        )
    if value.each == "worker":
        of_workers = {
            role_name(thread): _group(context, kind, [c.served_by(thread) for c in censuses])
            for thread in context.worker_threads
        }
        return judge_each(context, subject, "worker", Things(noun, kind), count, of_workers)
    assert isinstance(value, DescriptorTally)
    groups = {
        socket_name(socket): _group(
            context, kind, [[d for d in c.members(kind) if d.socket is socket] for c in censuses]
        )
        for socket in target.sockets
    }
    return judge_each(context, subject, "socket", Things(noun, kind), count, groups)


def _group(context: Context, kind: Kind, found: list[list[Any]]) -> Group:
    possible, members = _possible(context, kind, found), found[-1]
    return Group(possible, len(members), [e for member in members for e in _evidence(member)])


def _possible(context: Context, kind: Kind, found: Sequence[list[Any]]) -> Interval:
    """Return how many there may be, given those of every time at which it may have been."""
    counts = [len(members) for members in found]
    if not context.doubt:
        return Interval(min(counts), max(counts))
    return context.interval(sum(_is_certain(kind, member) for member in found[-1]), counts[-1])


def _is_certain(kind: Kind, member: KernelSocket | Descriptor) -> bool:
    if isinstance(member, Descriptor):
        return kind != "spare" and member.tainted_ns is None
    if kind == "ever":
        return True  # the address stands in the arguments of its bind
    return kind != "spare" and all(d.tainted_ns is None for d in member.descriptors)


def _evidence(member: KernelSocket | Descriptor) -> list[Event]:
    if isinstance(member, Descriptor):
        return [member.opened]
    return [call.event for call in member.binds]
