"""`calls`: how many observed calls match a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from envoyassert.addresses import Address
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.pattern import CountedPattern, impossible
from envoyassert.scenario.quantity import allows_none, is_any, is_none
from envoyassert.words.remedy import Place
from envoyassert.words.word import Example, Part, Vacuous, Word

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import SocketGraph
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.verdict import Finding


class CallsExpectation(Conditional):
    """How many observed calls match a pattern."""

    calls: CountedPattern = Field(description="Which calls, and how many.")

    @property
    def says_none(self) -> bool:
        """Whether there must be no such call."""
        return is_none(self.calls.times)


def judge_calls(context: Context, index: int, expectation: CallsExpectation) -> Iterator[Finding]:
    """Judge how many calls match a pattern."""
    from envoyassert.judge.matching import matches_of, possible, unresolved, with_nearest
    from envoyassert.judge.values import Calls
    from envoyassert.judge.variables import judge_let_of_calls
    from envoyassert.judge.verdict import Finding

    pattern = expectation.calls
    subject, matched = matches_of(context, "calls", index, pattern, expectation.why)
    if isinstance(matched, Finding):
        yield matched
        return
    found, _, unknown = matched
    if pattern.let is not None and unknown:
        yield unresolved(context, subject.at("let"), pattern, unknown[0].reason)
    elif pattern.let is not None:
        yield from judge_let_of_calls(context, subject.at("let"), found, pattern.let)
    if pattern.each is not None:
        yield _judge_each(context, subject.at("times"), pattern, found)
        return
    finding = context.judge_count(
        subject.at("times"),
        Calls(pattern),
        pattern.times,
        possible(context, pattern, found),
        len(found),
        evidence=found,
        from_events=pattern.listener is None,
    )
    yield finding if found else with_nearest(context, finding, [pattern])


def _judge_each(
    context: Context, subject: Subject, pattern: CountedPattern, found: list[Event]
) -> Finding:
    """Judge how many calls match on each socket of a listener, or by each worker."""
    from envoyassert.judge.each import GroupMember, groups_of, judge_each
    from envoyassert.judge.matching import is_sure, unread_in
    from envoyassert.judge.selection import Selection, select
    from envoyassert.judge.values import Calls

    assert pattern.each is not None
    selection = (
        Selection()
        if pattern.listener is None
        else select(pattern.listener, context.graph, context.trace.header.listeners, total=True)
    )
    members = [
        GroupMember(event, context.graph.call_of(event), is_sure(context, pattern, event))
        for event in found
    ]
    unread = len(unread_in(context, pattern))
    groups = groups_of(context, members, pattern.each, selection.sockets, unread)
    return judge_each(context, subject, pattern.each, Calls(pattern), pattern.times, groups)


def _vacuous(expectation: CallsExpectation) -> Vacuous:
    if is_any(expectation.calls.times):
        yield ("calls", "times"), "any number of calls is right"
    elif allows_none(expectation.calls.times):
        for field, reason in impossible(expectation.calls):
            yield ("calls", field), reason


def _like_the_closest(
    finding: Finding, data: Mapping[str, Any], _: SocketGraph
) -> Iterator[tuple[Place, Any]]:
    """Yield what a call is that comes closest."""
    from envoyassert.judge.near import NearCall

    pattern = data["calls"]
    near = [one for call in finding.near if isinstance(call, NearCall) for one in call.differs]
    for one in near:
        _before, argument, name = one.field.partition("args.")
        if argument and name in pattern.get("args", {}):
            value = str(one.seen) if isinstance(one.seen, Address) else one.seen
            yield ("calls", "args", name), value
    for one in near:
        if one.field == "by" and "by" in pattern:
            yield ("calls", "by"), one.seen.word


WORD = Word(
    name="calls",
    model=CallsExpectation,
    judge=judge_calls,
    vacuous=_vacuous,
    forbids=lambda item: item.calls if item.says_none else None,
    examples={
        "calls": Example(
            "calls: {call: dup, listener: {port: 15006}, times: {workers: 1, plus: -1}}",
            "shared",
            "reuse",
            during=True,
        ),
    },
    parts=(
        Part(
            CountedPattern,
            "Pattern of a call with a count",
            "[{calls: {%}}]",
            {
                "call": Example("call: [bind, listen]", "shared", "nothing"),
                "listener": Example(
                    "call: setsockopt, listener: {port: 15006}", "shared", "option_elsewhere"
                ),
                "by": Example("call: bind, by: workers", "bound_by_worker", "shared"),
                "errno": Example("call: bind, errno: EADDRINUSE", "port_taken", "shared"),
                "succeeds": Example("call: connect, succeeds: false", "refused", "connected"),
                "args": Example(
                    "call: setsockopt, args: {name: SO_REUSEPORT, value: 1}", "reuse", "shared"
                ),
                "stack": Example(
                    'call: bind, stack: {contains: "ListenSocketFactoryImpl"}',
                    "bound_in_the_factory",
                    "bound_elsewhere",
                ),
                "times": Example("call: dup, times: 3", "three_dups", "shared"),
                "each": Example(
                    "call: epoll_ctl, listener: {port: 15006}, each: worker, times: 1",
                    "shared",
                    "listens_once",
                ),
                "let": Example(
                    "call: listen, listener: {port: 15006}, let: {ingress_sockets: socket}",
                    "shared",
                    "one_listens",
                    inside=(
                        "[{listener: {port: 15006}, let: {ingress_sockets: socket}}, {calls: {%}}]"
                    ),
                ),
            },
        ),
    ),
    closest=_like_the_closest,
)
