"""`only_options`: all options that are set on each of its sockets, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model, OptionName
from envoyassert.scenario.option_value import ANY_VALUE, SetTo
from envoyassert.words.of_listener.options import PHASES, VALUE_CUT, is_named, ways_of
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.graph.model import KernelSocket, OptionSet
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Option
    from envoyassert.judge.verdict import Finding


class OnlyOptions(Model):
    """All options that are set on each socket, by when: these once, in any order, and no others."""

    before_bind: dict[OptionName, SetTo] = Field(
        default_factory=dict, description="Options that are set before bind, with their values."
    )
    bound: dict[OptionName, SetTo] = Field(
        default_factory=dict, description="Options that are set after bind, and before any listen."
    )
    listening: dict[OptionName, SetTo] = Field(
        default_factory=dict, description="Options that are set after listen."
    )


def _only_options(target: Target, word: str, value: OnlyOptions) -> Iterator[Finding]:
    yield _judge(target.context, target.subject.at(word), target.sockets, value)


def _judge(
    context: Context, subject: Subject, sockets: tuple[KernelSocket, ...], expected: OnlyOptions
) -> Finding:
    """Judge that each socket of a listener has these options and no others."""
    from envoyassert.judge.context import NO_SOCKET
    from envoyassert.judge.values import Options

    answers = [_are_all(socket.options, expected) for socket in sockets]
    wrong = [socket for socket, holds in zip(sockets, answers, strict=True) if holds is False]
    if context.doubt:
        # A setsockopt that was lost may be any, and bind or listen may have been lost before it.
        status = Status.FAIL if _is_surely_more(sockets, expected) else Status.INCONCLUSIVE
    else:
        unread = Status.INCONCLUSIVE if None in answers else Status.PASS
        status = Status.FAIL if wrong or not sockets else unread
    shown = wrong or list(sockets)
    ways = ways_of(socket.options for socket in shown)
    return context.finding(
        subject,
        status,
        Fact("only_options", options=_asked(expected)),
        Options(None, ways, len(shown), len(sockets)) if sockets else NO_SOCKET,
        reason=None if context.doubt else VALUE_CUT,
        evidence=[o.call.event for socket in shown for o in socket.options]
        + [call.event for socket in wrong for call in socket.binds],
    )


def _are_all(options: Sequence[OptionSet], expected: OnlyOptions) -> bool | None:
    """Whether the options of a socket are these and no others; None if a value is not known."""
    from envoyassert.option_values import value_matches

    unknown = False
    rest = list(options)
    for phase, name, values in _wanted(expected):
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


def _is_surely_more(sockets: tuple[KernelSocket, ...], expected: OnlyOptions) -> bool:
    names = [name for _, name, _ in _wanted(expected)]
    return any(
        option.call.certain and not any(is_named(option, name) for name in names)
        for socket in sockets
        for option in socket.options
    )


def _wanted(expected: OnlyOptions) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield phase, name and the values in turn of each option."""
    for phase in PHASES:
        for name, wanted in getattr(expected, phase).items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            plain = [v.model_dump(exclude_none=True) if isinstance(v, Model) else v for v in values]
            yield phase, name, plain


def _asked(expected: OnlyOptions) -> tuple[Option, ...]:
    from envoyassert.judge.values import Option

    return tuple(
        Option(name, None, phase, any_value=True)
        if value == ANY_VALUE
        else Option(name, value, phase)
        for phase, name, values in _wanted(expected)
        for value in values
    )


WORD = ListenerWord(
    name="only_options",
    form=OnlyOptions,
    description=("All options that are set on each of its sockets; `{}` for none at all."),
    judge=_only_options,
    example=Example(
        "only_options: {before_bind: {SO_REUSEADDR: 1, SO_REUSEPORT: 1}}", "reuse", "shared"
    ),
    parts=(
        Part(
            OnlyOptions,
            "`only_options`",
            "[{listener: {port: 15006}, only_options: {%}}]",
            {
                "before_bind": Example("before_bind: {SO_REUSEPORT: 1}", "option_on", "option_off"),
                "bound": Example("bound: {SO_REUSEPORT: 1}", "option_late", "option_on"),
                "listening": Example(
                    "listening: {SO_KEEPALIVE: 1}", "option_listening", "option_between"
                ),
            },
        ),
    ),
)
