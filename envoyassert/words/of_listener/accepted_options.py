"""`accepted_options`: socket options that were set on the connections of a listener."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model, OptionName
from envoyassert.scenario.option_value import ANY_VALUE, ValueRule
from envoyassert.words.of_listener.options import VALUE_CUT, is_named, ways_of
from envoyassert.words.word import Example, ListenerWord

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import KernelSocket, OptionSet
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import OptionRule
    from envoyassert.judge.verdict import Finding

#: In place of a value: the option was not set.
_ABSENT = "absent"


def _judge(target: Target, word: str, rules: dict[str, ValueRule]) -> Iterator[Finding]:
    connections = _accepted(target)
    for name, rule in rules.items():
        yield _judge_rule(target, word, name, rule, connections)


def _accepted(target: Target) -> list[KernelSocket]:
    """Return the connections that count: accepted in the phase, if one is asked for."""
    listening = {id(socket) for socket in target.sockets}
    return [
        socket
        for socket in target.context.graph.sockets
        if id(socket.accepted_from) in listening and target.context.in_window(socket.born)
    ]


def _judge_rule(
    target: Target, word: str, name: str, rule: ValueRule, connections: list[KernelSocket]
) -> Finding:
    from envoyassert.judge.values import Options

    context = target.context
    found = [(one, [o for o in one.options if is_named(o, name)]) for one in connections]
    answers = [_holds(options, rule) for _, options in found]
    wrong = [pair for pair, holds in zip(found, answers, strict=True) if holds is False]
    reason = context.doubt or None
    if not connections:
        status, reason = Status.INCONCLUSIVE, reason or Fact("none_accepted")
    elif context.doubt:
        # A setsockopt that was lost may have set it, or set it to another value.
        sure = rule == _ABSENT and any(o.call.certain for _, options in wrong for o in options)
        status = Status.FAIL if sure else Status.INCONCLUSIVE
    elif any(options or not _is_new(target, one) for one, options in wrong):
        status = Status.FAIL
    elif wrong:
        status, reason = Status.INCONCLUSIVE, Fact("accepted_at_the_end")
    else:
        status = Status.INCONCLUSIVE if None in answers else Status.PASS
        reason = VALUE_CUT
    shown = wrong or found
    ways = ways_of(options[-1:] for _, options in shown)
    return context.finding(
        target.subject.at(word).of(name),
        status,
        Fact("accepted_options", rule=_expected(name, rule)),
        Fact("accepted_options_seen", options=Options(name, ways, len(shown), len(found))),
        reason=reason,
        evidence=[event for one, options in shown for event in _events(one, options)],
    )


def _holds(options: list[OptionSet], rule: ValueRule) -> bool | None:
    """Return whether the option is as it is asked for; None if a value is not known."""
    from envoyassert.option_values import value_matches

    if rule == _ABSENT or not options:
        return (rule == _ABSENT) is not bool(options)
    if rule == ANY_VALUE:
        return True
    return value_matches(options[-1].value, _plain(rule))


def _is_new(target: Target, connection: KernelSocket) -> bool:
    """Whether the thread that accepted a connection had no time to do anything with it."""
    born = connection.born
    later = next(e for e in reversed(target.context.trace.events) if e.tid == born.tid)
    return later is born


def _events(connection: KernelSocket, options: list[OptionSet]) -> list[Event]:
    return [option.call.event for option in options] or [connection.born]


def _expected(name: str, rule: ValueRule) -> OptionRule:
    from envoyassert.judge.values import OptionRule

    if rule == _ABSENT:
        return OptionRule(name, "absent")
    if rule == ANY_VALUE:
        return OptionRule(name, "set")
    return OptionRule(name, "value", _plain(rule))


def _plain(rule: ValueRule) -> int | str | dict[str, int | str]:
    return rule.model_dump(exclude_none=True) if isinstance(rule, Model) else rule


def _expected_in_words(fact: Fact) -> str:
    from envoyassert.option_values import value_text

    rule = fact["rule"]
    if rule.state == "absent":
        return f"{rule.name} set on no connection"
    state = "set" if rule.state == "set" else f"= {value_text(rule.value)}"
    return f"{rule.name} {state} on every connection"


def _seen_in_words(fact: Fact) -> str:
    from envoyassert.judge.interval import plural
    from envoyassert.option_values import value_text

    seen = fact["options"]
    if not seen.total:
        return "no connection was accepted"
    ways = sorted(f"= {value_text(way[-1].value)}" if way else "not set" for way in seen.ways)
    total = plural(seen.total, "connection")
    return f"{seen.name} {' / '.join(ways)} on {seen.sockets} of {total}"


WORD = ListenerWord(
    name="accepted_options",
    form=dict[OptionName, ValueRule],
    description="Socket options that were set on each connection that was accepted on its sockets: "
    "a value, `set` for any, or `absent`. What a connection has from its listening socket was not "
    "set on it.",
    judge=_judge,
    example=Example(
        "accepted_options: {TCP_NODELAY: 1}", "without_delay", "one_with_delay", during=True
    ),
    limits={"min_length": 1},
    done=True,
    texts={
        "accepted_options": _expected_in_words,
        "accepted_options_seen": _seen_in_words,
        "accepted_at_the_end": "a connection was accepted just before the end",
    },
)
