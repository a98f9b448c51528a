"""`only_options`: all options that are set on each of its sockets, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from pydantic import Field

from envoyassert.fact import Fact
from envoyassert.frozen import frozen
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import Model, OptionName
from envoyassert.scenario.option_value import ANY_VALUE, SetTo
from envoyassert.words.of_listener.options import (
    PHASES,
    VALUE_CUT,
    advice_on_all,
    is_named,
    values_of,
    ways_of,
)
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

    apart = [_apart(socket.options, expected) for socket in sockets]
    if context.doubt:
        # A setsockopt that was lost may be any, and bind or listen may have been lost before it.
        apart = [Apart(_surely_more(socket, expected)) for socket in sockets]
        status = Status.FAIL if any(one.differs for one in apart) else Status.INCONCLUSIVE
    else:
        unread = any(one.is_unknown for one in apart)
        status = Status.INCONCLUSIVE if unread else Status.PASS
        if any(one.differs for one in apart) or not sockets:
            status = Status.FAIL
    wrong = [socket for socket, one in zip(sockets, apart, strict=True) if one.differs]
    shown = wrong or list(sockets)
    unexpected = _each_once(option for one in apart for option in one.unexpected)
    # One call shows each of what must not be there, and all of them what is not there.
    evidence = [option.call.event for option in unexpected]
    if not unexpected:
        evidence = [option.call.event for socket in shown for option in socket.options]
        evidence += [call.event for socket in wrong for call in socket.binds]
    seen = Options(
        None,
        ways_of(socket.options for socket in shown),
        len(shown),
        len(sockets),
        values_of(unexpected) or None,
        tuple({repr(one): one for part in apart for one in part.missing}.values()) or None,
    )
    return context.finding(
        subject,
        status,
        Fact("only_options", options=_asked(expected)),
        seen if sockets else NO_SOCKET,
        reason=None if context.doubt else VALUE_CUT,
        evidence=evidence,
    )


def _each_once(options: Iterable[OptionSet]) -> list[OptionSet]:
    """Return the first of the options that were set to the same value in the same phase."""
    first: dict[str, OptionSet] = {}
    for option in options:
        first.setdefault(repr(values_of([option])), option)
    return list(first.values())


@frozen
class Apart:
    """In what the options of a socket are not those that are expected.

    Args:
        unexpected: what was set and should not have been, or not to that value.
        missing: what should have been set, to that value.
        is_unknown: whether a value that decides was not read whole.
    """

    unexpected: tuple[OptionSet, ...] = ()
    missing: tuple[Option, ...] = ()
    is_unknown: bool = False

    @property
    def differs(self) -> bool:
        """Whether they are surely others."""
        return bool(self.unexpected or self.missing)


def _apart(options: Sequence[OptionSet], expected: OnlyOptions) -> Apart:
    """Return how the options of a socket differ from those that are expected."""
    from envoyassert.option_values import value_matches

    unexpected: list[OptionSet] = []
    missing: list[Option] = []
    unknown = False
    rest = list(options)
    for phase, name, values in _wanted(expected):
        mine = [o for o in rest if o.phase == phase and is_named(o, name)]
        for option, value in zip_longest(mine, values):
            if option is None or value is None:
                holds: bool | None = False
            else:
                holds = value == ANY_VALUE or value_matches(option.value, value)
            if holds is False:
                unexpected += [] if option is None else [option]
                missing += [] if value is None else [_as_value(phase, name, value)]
            unknown |= holds is None
        rest = [option for option in rest if option not in mine]
    return Apart((*unexpected, *rest), tuple(missing), unknown)


def _surely_more(socket: KernelSocket, expected: OnlyOptions) -> tuple[OptionSet, ...]:
    names = [name for _, name, _ in _wanted(expected)]
    return tuple(
        option
        for option in socket.options
        if option.call.certain and not any(is_named(option, name) for name in names)
    )


def _wanted(expected: OnlyOptions) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield phase, name and the values in turn of each option."""
    for phase in PHASES:
        for name, wanted in getattr(expected, phase).items():
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            plain = [v.model_dump(exclude_none=True) if isinstance(v, Model) else v for v in values]
            yield phase, name, plain


def _asked(expected: OnlyOptions) -> tuple[Option, ...]:
    wanted = _wanted(expected)
    return tuple(_as_value(phase, name, value) for phase, name, many in wanted for value in many)


def _as_value(phase: str, name: str, value: Any) -> Option:
    from envoyassert.judge.values import Option

    if value == ANY_VALUE:
        return Option(name, None, phase, any_value=True)
    return Option(name, value, phase)


def _advice(finding: Finding) -> str | None:
    from envoyassert.judge.values import Options

    return advice_on_all(finding.seen) if isinstance(finding.seen, Options) else None


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
    advice=_advice,
)
