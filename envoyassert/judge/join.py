"""Variables that join expectations: the same socket, descriptor, thread or port in each."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from envoyassert.events import Event
from envoyassert.graph.model import Descriptor, KernelSocket, Thread
from envoyassert.judge.context import EPOLL_UNOBSERVED, NOT_KNOWN, Context, Subject
from envoyassert.judge.roles import names_of
from envoyassert.judge.target import Target
from envoyassert.judge.values import DescriptorName, Fact, socket_name
from envoyassert.judge.verdict import Finding, Status
from envoyassert.judge.work import Joined
from envoyassert.scenario.pattern import Fact as Kind

#: How many members a finding names at most.
_SHOWN = 4
#: How much work it is to find what a call was on, in looks at an event.
_LOOKS = 4


def judge_let_of_listener(
    target: Target, subject: Subject, names: Mapping[str, Kind]
) -> Iterator[Finding]:
    """Judge the variables of a listener: all of its sockets, descriptors, servers or ports."""
    descriptors = [d for socket in target.sockets for d in socket.descriptors]
    threads = [entry.thread for entry in target.serving]
    evidence = [call.event for call in target.calls("binds")]
    target.context.work.spend(len(names) * (len(descriptors) + len(threads)))
    for name, fact in names.items():
        if fact == "thread" and target.context.by_listen:
            yield target.context.finding(
                subject.of(name),
                Status.INCONCLUSIVE,
                Fact("variable_of_servers", name=name),
                NOT_KNOWN,
                reason=EPOLL_UNOBSERVED,
            )
            continue
        yield _judge(
            target.context,
            subject.of(name),
            name,
            _joined(subject, fact, target.sockets, descriptors, threads),
            evidence,
        )


def judge_let_of_calls(
    context: Context, subject: Subject, events: Sequence[Event], names: Mapping[str, Kind]
) -> Iterator[Finding]:
    """Judge the variables of calls: all sockets and descriptors they were on, all callers."""
    known = context.calls_by_event
    calls = [known[id(event)] for event in events if id(event) in known]
    descriptors = [call.descriptor for call in calls if call.descriptor is not None]
    sockets = [descriptor.socket for descriptor in descriptors]
    threads = [context.graph.threads[event.tid] for event in events]
    context.work.spend(_LOOKS * len(names) * len(events))
    for name, fact in names.items():
        joined = _joined(subject, fact, sockets, descriptors, threads)
        yield _judge(context, subject.of(name), name, joined, events)


def _joined(
    subject: Subject,
    fact: Kind,
    sockets: Iterable[KernelSocket],
    descriptors: Iterable[Descriptor],
    threads: Iterable[Thread],
) -> Joined:
    members: frozenset[Hashable]
    names: Sequence[object]
    if fact == "thread":
        found = list(threads)
        members, names = frozenset(t.tid for t in found), names_of(found)
    elif fact == "port":
        ports = {s.address.port for s in sockets if s.address is not None and s.address.port}
        members, names = frozenset(ports), sorted(ports)
    elif fact == "socket":
        by_number = {socket.number: socket for socket in sockets}
        members = frozenset(by_number)
        names = [socket_name(by_number[number]) for number in sorted(by_number)]
    else:
        listed = list(dict.fromkeys(descriptors))
        members = frozenset((d.pid, d.fd, d.generation) for d in listed)
        names = [DescriptorName(d.fd, d.pid) for d in listed]
    shown = len(names) if fact == "thread" else _SHOWN
    told = Fact(
        "variable_stands_for",
        noun=fact,
        names=tuple(names[:shown]),
        more=max(0, len(names) - shown),
    )
    return Joined(members, told, subject.topic, fact)


def _judge(
    context: Context, subject: Subject, name: str, joined: Joined, evidence: Sequence[Event]
) -> Finding:
    """Hold what a variable stands for against what it stood for before.

    After a loss neither may be all there is, so it is not known that two are equal, or differ.
    """
    before = context.variables.setdefault(name, joined)
    wanted = Fact("variable_to_be", name=name)
    if before is not joined:
        wanted = Fact("variable_to_be", name=name, before=before.names, of=before.topic)
    holds = bool(joined.members) and before.members == joined.members
    status = Status.PASS if holds else Status.FAIL
    if context.doubt:
        status = Status.INCONCLUSIVE
    return context.finding(subject, status, wanted, joined.names, evidence=evidence)
