"""Socket options: set or absent, to which value, and when relative to bind and listen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from envoyassert.graph.model import KernelSocket, OptionSet
from envoyassert.judge.context import Context, Subject
from envoyassert.judge.interval import plural
from envoyassert.judge.verdict import Finding, Status
from envoyassert.names import LEVELS, level_name, option_name
from envoyassert.option_values import value_matches, value_text
from envoyassert.scenario.expectation import Model, Option, OptionRule
from envoyassert.scenario.option_value import ANY_VALUE, OnlyOptions

_PHASES = {
    "STATE_PREBIND": "before_bind",
    "STATE_BOUND": "bound",
    "STATE_LISTENING": "listening",
}
_PHASE_WORDS = {"before_bind": "before bind", "bound": "after bind", "listening": "after listen"}


def judge_options(
    context: Context,
    subject: Subject,
    sockets: tuple[KernelSocket, ...],
    rules: dict[str, OptionRule],
) -> Iterator[Finding]:
    """Judge every rule on every socket of a listener."""
    for name, rule in rules.items():
        yield _judge_rule(context, subject.at(name), sockets, name, rule)


def _judge_rule(
    context: Context,
    subject: Subject,
    sockets: tuple[KernelSocket, ...],
    name: str,
    rule: OptionRule,
) -> Finding:
    expected = f"{name} {_rule_in_words(rule)}"
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
        expected,
        _seen_in_words(name, found, wrong),
        reason="" if context.doubt else "not all of the value was recorded",
        evidence=shown,
    )
    lacking = [socket for socket, options in wrong if not options]
    if status is not Status.FAIL or rule == "absent" or not lacking:
        return finding
    return replace(finding, closest=f"set there: {_all_in_words(lacking[0])}")


def _all_in_words(socket: KernelSocket) -> str:
    last = {option.name: option for option in socket.options}
    words = [f"{o.name} = {value_text(o.value)} {_PHASE_WORDS[o.phase]}" for o in last.values()]
    return ", ".join(words) or "no option at all"


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


def judge_only_options(
    context: Context, subject: Subject, sockets: tuple[KernelSocket, ...], wish: OnlyOptions
) -> Finding:
    """Judge that each socket of a listener has these options and no others."""
    answers = [_are_all(socket.options, wish) for socket in sockets]
    wrong = [socket for socket, holds in zip(sockets, answers, strict=True) if holds is False]
    if context.doubt:
        # A setsockopt that was lost may be any, and bind or listen may have been lost before it.
        status = Status.FAIL if _is_surely_more(sockets, wish) else Status.INCONCLUSIVE
    else:
        unread = Status.INCONCLUSIVE if None in answers else Status.PASS
        status = Status.FAIL if wrong or not sockets else unread
    shown = wrong or list(sockets)
    ways = sorted({_options_in_words(socket.options) for socket in shown})
    seen = f"{' / '.join(ways)}: {len(shown)} of {plural(len(sockets), 'socket')}"
    return context.finding(
        subject,
        status,
        f"set on each socket: {_only_in_words(wish)}",
        seen if sockets else "no socket was bound",
        reason="" if context.doubt else "not all of the value was recorded",
        evidence=[o.call.event for socket in shown for o in socket.options]
        + [call.event for socket in wrong for call in socket.binds],
    )


def _are_all(options: list[OptionSet], wish: OnlyOptions) -> bool | None:
    """Whether the options of a socket are these and no others; None if a value is not known."""
    unknown = False
    rest = list(options)
    for phase, name, values in _wanted(wish):
        mine = [o for o in rest if o.phase == phase and is_named(o, name)]
        if len(mine) != len(values):
            return False
        for option, value in zip(mine, values, strict=True):
            holds = value == ANY_VALUE or value_matches(option.value, value)
            if holds is False:
                return False
            unknown |= holds is None
        rest = [option for option in rest if option not in mine]
    return False if rest else None if unknown else True


def _is_surely_more(sockets: tuple[KernelSocket, ...], wish: OnlyOptions) -> bool:
    names = [name for _, name, _ in _wanted(wish)]
    return any(
        option.call.certain and not any(is_named(option, name) for name in names)
        for socket in sockets
        for option in socket.options
    )


def _wanted(wish: OnlyOptions) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield phase, name and the values in turn of each option."""
    for phase in _PHASE_WORDS:
        for name, wanted in getattr(wish, phase).items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            plain = [v.model_dump(exclude_none=True) if isinstance(v, Model) else v for v in values]
            yield phase, name, plain


def _only_in_words(wish: OnlyOptions) -> str:
    return _by_phase(
        (phase, f"{name} {'set' if value == ANY_VALUE else f'= {value_text(value)}'}")
        for phase, name, values in _wanted(wish)
        for value in values
    )


def _options_in_words(options: list[OptionSet]) -> str:
    return _by_phase((o.phase, f"{o.name} = {value_text(o.value)}") for o in options)


def _by_phase(options: Iterable[tuple[str, str]]) -> str:
    """Return options in words, by phase: `SO_REUSEADDR = 1 before bind`."""
    groups: dict[str, list[str]] = {}
    for phase, words in options:
        groups.setdefault(phase, []).append(words)
    told = [f"{', '.join(groups[phase])} {_PHASE_WORDS[phase]}" for phase in groups]
    return "; ".join(told) or "no option at all"


def _rule_in_words(rule: OptionRule) -> str:
    if isinstance(rule, str):
        return "set on every socket" if rule == "set" else "set on no socket"
    if isinstance(rule, int):
        return f"= {rule} on every socket"
    assert isinstance(rule, Option)
    value = "set" if rule.value is None else f"= {value_text(rule.wanted)}"
    phase = _PHASE_WORDS[_PHASES.get(rule.phase, rule.phase)] if rule.phase else ""
    return f"{value} {phase} on every socket".replace("  ", " ")


def _seen_in_words(
    name: str,
    found: list[tuple[KernelSocket, list[OptionSet]]],
    wrong: list[tuple[KernelSocket, list[OptionSet]]],
) -> str:
    if not found:
        return "no socket was bound"
    ways = sorted(
        {
            ", then ".join(f"= {value_text(o.value)} {_PHASE_WORDS[o.phase]}" for o in options)
            or "not set"
            for _, options in (wrong or found)
        }
    )
    return f"{name} {' / '.join(ways)} on {len(wrong or found)} of {plural(len(found), 'socket')}"
