"""Variables of expectations: what each stands for, and which listener is meant by one.

`let` names the sockets, descriptors, threads or ports of an expectation. Those that two
expectations give one name must be the same. A selector with the name means the listener that has
them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from envoyassert.events import Event
from envoyassert.graph.model import Descriptor, KernelSocket, Thread
from envoyassert.judge.context import EPOLL_UNOBSERVED, NOT_KNOWN, Context, Joined, Subject
from envoyassert.judge.roles import names_of
from envoyassert.judge.selection import ChosenSockets
from envoyassert.judge.target import Target
from envoyassert.judge.values import DescriptorName, Fact, Reason, socket_name
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.pattern import Fact as Kind
from envoyassert.scenario.selector import Selector

T = TypeVar("T", bound=BaseModel)


class UnresolvedError(Exception):
    """Why a variable says nothing.

    Args:
        reason: that, as a finding has it.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def resolved(item: T, context: Context) -> T:
    """Return an expectation with its variables replaced by what they stand for.

    Args:
        item: the expectation.
        context: the trace, and what the variables of the expectations before stand for.

    Raises:
        UnresolvedError: a variable stands for nothing, for too much, or events are lost, so that it
            may stand for the wrong thing.
    """
    found: T = _replaced(item, context.variables, context.doubt)
    return found


def _replaced(value: Any, joined: Mapping[str, Joined], doubt: Reason | None) -> Any:
    if isinstance(value, Selector):
        return _selector(value, joined, doubt) if value.variable else value
    if isinstance(value, BaseModel):
        changed = {}
        for name in value.model_fields_set:
            before = getattr(value, name)
            after = _replaced(before, joined, doubt)
            if after is not before:
                changed[name] = after
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, tuple):
        members = tuple(_replaced(member, joined, doubt) for member in value)
        same = all(a is b for a, b in zip(members, value, strict=True))
        return value if same else members
    return value


def _selector(selector: Selector, joined: Mapping[str, Joined], doubt: Reason | None) -> Selector:
    name = selector.variable
    known = joined.get(name)
    if doubt:
        raise UnresolvedError(doubt)
    if known is None:
        raise UnresolvedError(Fact("variable_unknown", name=name))
    if selector.socket is not None:
        if known.fact != "socket" or not known.members:
            raise _wrong(name, known, "socket")
        return ChosenSockets(**selector.model_dump(), numbers=known.members)
    if known.fact != "port" or len(known.members) != 1:
        raise _wrong(name, known, "port")
    (port,) = known.members
    return selector.model_copy(update={"port": port})


def _wrong(name: str, known: Joined, wanted: str) -> UnresolvedError:
    return UnresolvedError(Fact("variable_is_other", name=name, names=known.names, wanted=wanted))


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
    calls = [call for event in events if (call := context.graph.call_of(event)) is not None]
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
        found_ = list(sockets)
        # Where the kernel chose it, a push or a restart has it choose another one.
        standing = [s for s in found_ if s.is_live] or found_
        ports = {s.address.port for s in standing if s.address is not None and s.address.port}
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
    stands_for = Fact(
        "variable_stands_for",
        noun=fact,
        names=tuple(names[:shown]),
        more=max(0, len(names) - shown),
    )
    return Joined(members, stands_for, subject.topic, fact)


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
