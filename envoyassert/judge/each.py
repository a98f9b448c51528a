"""Counts by themselves for each socket or each worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from envoyassert.events import Event
from envoyassert.graph.model import Call, KernelSocket
from envoyassert.judge.context import NOT_JUDGED, UNKNOWN_WORKERS, Context, Subject
from envoyassert.judge.interval import Interval, count_of
from envoyassert.judge.values import (
    Counted,
    Fact,
    Groups,
    SocketName,
    ThreadName,
    Value,
    role_name,
    socket_name,
)
from envoyassert.judge.verdict import Finding, Status, worst
from envoyassert.scenario.quantity import Count

#: How many groups a finding names at most.
_SHOWN = 3


class GroupMember(NamedTuple):
    """One thing that is counted: its event, the call on a socket if it is one, its certainty."""

    event: Event
    call: Call | None
    sure: bool


#: What is counted by itself: a worker by its role, or a socket.
Name = ThreadName | SocketName


@dataclass(frozen=True)
class Group:
    """What one socket or worker has.

    Args:
        possible: how many there may truly be.
        seen: how many were seen.
        evidence: events that show them.
    """

    possible: Interval
    seen: int
    evidence: Sequence[Event] = ()


def groups_of_calls(
    context: Context,
    calls: Iterable[Call],
    each: Literal["socket", "worker"],
    sockets: tuple[KernelSocket, ...],
) -> dict[Name, Group]:
    """Return calls on sockets for each of the sockets or workers, by its name."""
    members = [GroupMember(call.event, call, call.certain) for call in calls]
    return groups_of(context, members, each, sockets)


def groups_of(
    context: Context,
    members: Iterable[GroupMember],
    each: Literal["socket", "worker"],
    sockets: tuple[KernelSocket, ...],
    unread: int = 0,
) -> dict[Name, Group]:
    """Return members for each socket of a listener or each worker, by its name.

    Args:
        context: the trace.
        members: what is counted.
        each: what they are counted for.
        sockets: the listener's sockets; one without any member is there with none.
        unread: how many more there may be, for an argument could not be read.
    """
    names: dict[int, Name]
    if each == "worker":
        names = {thread.tid: role_name(thread) for thread in context.worker_threads}
    else:
        names = {socket.number: socket_name(socket) for socket in sockets}
    found: dict[int, list[GroupMember]] = {key: [] for key in names}
    for member in members:
        key: int | None = member.event.tid
        if each == "socket":
            descriptor = member.call.descriptor if member.call is not None else None
            key = descriptor.socket.number if descriptor is not None else None
        if key in found:
            found[key].append(member)
    groups = {}
    for key, mine in found.items():
        sure = sum(m.sure and (each == "worker" or _certain(m.call)) for m in mine)
        possible = context.interval(sure, len(mine) + unread)
        groups[names[key]] = Group(possible, len(mine), [member.event for member in mine])
    return groups


def _certain(call: Call | None) -> bool:
    return call is not None and call.certain


def judge_each(
    context: Context,
    subject: Subject,
    each: Literal["socket", "worker"],
    of: Counted,
    count: Count,
    groups: Mapping[Any, Group],
) -> Finding:
    """Judge a count for each socket or each worker; the worst of them decides.

    No socket at all is a fault, and so is another number of workers than was asked for: what is
    said of each is never said of none.
    """
    wanted = context.wanted_interval(count)
    if wanted is None or (each == "worker" and context.workers < 1):
        asked = count_of(of, None, each)
        return context.finding(
            subject, Status.INCONCLUSIVE, asked, NOT_JUDGED, reason=UNKNOWN_WORKERS
        )
    asked = count_of(of, wanted, each)
    absent = absent_groups(context, each, len(groups))
    if absent is not None:
        status, seen = absent
        return context.finding(subject, status, asked, seen)
    statuses = {name: group.possible.compare(wanted) for name, group in groups.items()}
    status = worst(list(statuses.values()))
    if context.doubt and status is Status.PASS and each == "socket":
        status = Status.INCONCLUSIVE  # there may have been another socket
    shown = [name for name in groups if statuses[name] is status] or list(groups)
    members = tuple((name, groups[name].seen) for name in shown[:_SHOWN])
    seen = Groups(of, each, members, len(shown), len(groups))
    evidence = [event for name in shown for event in groups[name].evidence]
    return context.finding(subject, status, asked, seen, evidence=evidence)


def absent_groups(context: Context, each: str, present: int) -> tuple[Status, Value] | None:
    """Return the status and what was seen where there are not the right groups, else None."""
    if each == "worker" and present != context.workers:
        # A worker that was not seen may have been lost; one too many is there.
        lost = context.doubt and present < context.workers
        status = Status.INCONCLUSIVE if lost else Status.FAIL
        return status, Fact("workers_exist", number=present, wanted=context.workers)
    if not present:
        return Status.INCONCLUSIVE if context.doubt else Status.FAIL, Fact("none_of", noun=each)
    return None
