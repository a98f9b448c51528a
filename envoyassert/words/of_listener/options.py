"""Socket options: set or absent, to which value, and when relative to bind and listen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, Tag

from envoyassert.graph.model import KernelSocket, OptionSet
from envoyassert.judge.context import NO_SOCKET, Context, Subject
from envoyassert.judge.near import OptionsThere
from envoyassert.judge.target import Target
from envoyassert.judge.values import Fact, Options
from envoyassert.judge.values import Option as Set
from envoyassert.judge.values import OptionRule as Rule
from envoyassert.judge.verdict import Finding, Status
from envoyassert.names import LEVELS, level_name, option_name
from envoyassert.option_values import value_matches
from envoyassert.scenario.grammar import Model, OptionName, choice, one_of
from envoyassert.scenario.option_value import Linger, PacketFilter, ValueRule
from envoyassert.words.word import Example, ListenerWord, Part

SocketPhase = Literal[
    "before_bind", "bound", "listening", "STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING"
]


class Option(Model):
    """One socket option, on every socket of the listener."""

    value: ValueRule | None = Field(
        None,
        description="Value that was set: a number, a name, the parts of a linger or of a packet "
        "filter, or hex text for other values.",
    )
    phase: SocketPhase | None = Field(
        None, description="before_bind, bound or listening; Envoy's STATE_ names mean the same."
    )

    @property
    def wanted(self) -> int | str | dict[str, int | str]:
        """The value as `option_values.value_matches` takes it; "" if there is none."""
        if isinstance(self.value, Model):
            return self.value.model_dump(exclude_none=True)
        return "" if self.value is None else self.value


OptionRule = Annotated[
    Annotated[Literal["set", "absent"], Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[Option, Tag("|Option")],
    choice(
        one_of(("set", "absent"), Option=()), "`set`, `absent`, a number or {value: n, phase: p}"
    ),
]
"""What is expected of one option."""


VALUE_CUT = Fact("value_cut")
_PHASES = {
    "STATE_PREBIND": "before_bind",
    "STATE_BOUND": "bound",
    "STATE_LISTENING": "listening",
}
#: When an option is set, in order.
PHASES = tuple(_PHASES.values())


def judge_options(
    context: Context,
    subject: Subject,
    sockets: tuple[KernelSocket, ...],
    rules: dict[str, OptionRule],
) -> Iterator[Finding]:
    """Judge every rule on every socket of a listener."""
    for name, rule in rules.items():
        yield _judge_rule(context, subject.of(name), sockets, name, rule)


def _judge_rule(
    context: Context,
    subject: Subject,
    sockets: tuple[KernelSocket, ...],
    name: str,
    rule: OptionRule,
) -> Finding:
    found = [(socket, [o for o in socket.options if is_named(o, name)]) for socket in sockets]
    answers = [_holds(options, rule) for _, options in found]
    wrong = [pair for pair, holds in zip(found, answers, strict=True) if holds is False]
    seen_but_unwanted = rule == "absent" and any(o.call.certain for _, os in wrong for o in os)
    if context.doubt:
        status = Status.FAIL if seen_but_unwanted else Status.INCONCLUSIVE
    else:
        unread = Status.INCONCLUSIVE if None in answers else Status.PASS
        status = Status.FAIL if wrong or not sockets else unread
    shown = [o.call.event for _, options in (wrong or found) for o in options]
    shown += [call.event for socket, _ in wrong for call in socket.binds]
    finding = context.finding(
        subject,
        status,
        _wish_of(name, rule),
        _seen(name, found, wrong),
        reason=None if context.doubt else VALUE_CUT,
        evidence=shown,
    )
    lacking = [socket for socket, options in wrong if not options]
    if status is not Status.FAIL or rule == "absent" or not lacking:
        return finding
    last = {option.name: option for option in lacking[0].options}
    return replace(finding, near=(OptionsThere(values_of(last.values())),))


def values_of(options: Iterable[OptionSet]) -> tuple[Set, ...]:
    """Return options as the values of a finding."""
    return tuple(Set(o.name, o.value, o.phase) for o in options)


def ways_of(options: Iterable[Iterable[OptionSet]]) -> tuple[tuple[Set, ...], ...]:
    """Return the different ways in which options are set, in an order that is always the same."""
    ways = {repr(values): values for values in map(values_of, options)}
    return tuple(ways[key] for key in sorted(ways))


def is_named(option: OptionSet, name: str) -> bool:
    """Whether an option is the one that a scenario names, by its name or as level/number."""
    level, separator, number = name.partition("/")
    if not separator:
        return option.name == name
    wanted = level_name(int(level) if level.isdigit() else level)
    wanted_option = option_name(wanted, int(number)) if number.isdigit() else number
    return option.level in (wanted, LEVELS.get(0, "") if wanted == 0 else wanted) and (
        option.name == wanted_option
    )


def _holds(options: list[OptionSet], rule: OptionRule) -> bool | None:
    if rule == "absent":
        return not options
    if rule == "set" or not options:
        return bool(options)
    if isinstance(rule, int):
        return options[-1].value == rule
    assert isinstance(rule, Option)
    if rule.phase is not None:
        phase = _PHASES.get(rule.phase, rule.phase)
        options = [option for option in options if option.phase == phase]
    if not options or rule.value is None:
        return bool(options)
    return value_matches(options[-1].value, rule.wanted)


def _wish_of(name: str, rule: OptionRule) -> Rule:
    if isinstance(rule, str):
        return Rule(name, rule)
    if isinstance(rule, int):
        return Rule(name, "value", rule)
    assert isinstance(rule, Option)
    phase = _PHASES.get(rule.phase, rule.phase) if rule.phase else None
    if rule.value is None:
        return Rule(name, "set", None, phase)
    return Rule(name, "value", rule.wanted, phase)


def _seen(
    name: str,
    found: list[tuple[KernelSocket, list[OptionSet]]],
    wrong: list[tuple[KernelSocket, list[OptionSet]]],
) -> Options | Fact:
    if not found:
        return NO_SOCKET
    shown = wrong or found
    return Options(name, ways_of(options for _, options in shown), len(shown), len(found))


def _options(target: Target, word: str, value: dict[str, Any]) -> Iterator[Finding]:
    yield from judge_options(target.context, target.subject.at(word), target.sockets, value)


WORD = ListenerWord(
    name="options",
    form=dict[OptionName, OptionRule],
    description="Socket options by name (SO_REUSEPORT) or level/number (1/15).",
    judge=_options,
    limits={"min_length": 1},
    example=Example("options: {SO_REUSEPORT: absent, SO_REUSEADDR: 1}", "shared", "reuse"),
    parts=(
        Part(
            Option,
            "One of `options`",
            "[{listener: {port: 15006}, options: {SO_REUSEPORT: {%}}}]",
            {
                "value": Example("value: 1", "option_on", "option_off"),
                "phase": Example("value: 1, phase: before_bind", "option_on", "option_late"),
            },
        ),
        Part(
            Linger,
            "Value of SO_LINGER",
            "[{listener: {port: 15006}, options: {SO_LINGER: {value: {%}}}}]",
            {
                "onoff": Example("onoff: 1, linger_s: 5", "lingers", "lingers_not"),
                "linger_s": Example("onoff: 1, linger_s: 5", "lingers", "lingers_shortly"),
            },
        ),
        Part(
            PacketFilter,
            "Value of a packet filter",
            "[{listener: {port: 15006}, options: {SO_ATTACH_REUSEPORT_CBPF: {value: {%}}}}]",
            {
                "instructions": Example("instructions: 14", "filtered", "filtered_shortly"),
                "sha256": Example(
                    "instructions: 14, sha256: 0123456789abcdef", "filtered", "filtered_otherwise"
                ),
            },
        ),
    ),
)
