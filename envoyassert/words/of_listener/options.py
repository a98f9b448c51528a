"""Socket options: set or absent, to which value, and when relative to bind and listen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field, Tag

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.names import LEVELS, level_name, option_name
from envoyassert.scenario.grammar import Model, OptionName, choice, one_of
from envoyassert.scenario.option_value import Linger, PacketFilter, ValueRule
from envoyassert.words.remedy import ANY, NO_REUSE_PORT, REUSE_PORT, Change, Failed, numbers
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.graph.model import KernelSocket, OptionSet
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Option as Set
    from envoyassert.judge.values import OptionRule as Rule
    from envoyassert.judge.values import Options
    from envoyassert.judge.verdict import Finding

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
    from envoyassert.judge.near import OptionsThere
    from envoyassert.state import is_state

    found = [(socket, [o for o in socket.options if is_named(o, name)]) for socket in sockets]
    answers = [_holds(options, rule) for _, options in found]
    wrong = [pair for pair, holds in zip(found, answers, strict=True) if holds is False]
    seen_but_unwanted = rule == "absent" and any(o.call.certain for _, os in wrong for o in os)
    if is_state(context.trace.header.unobserved):
        unlike = any(_is_unlike(context, socket, name, rule) for socket in sockets)
        status = Status.FAIL if unlike else Status.INCONCLUSIVE
    elif context.doubt:
        status = Status.FAIL if seen_but_unwanted else Status.INCONCLUSIVE
    else:
        unread = Status.INCONCLUSIVE if None in answers else Status.PASS
        status = Status.FAIL if wrong or not sockets else unread
    shown = [o.call.event for _, options in (wrong or found) for o in options]
    shown += [call.event for socket, _ in wrong for call in socket.binds]
    finding = context.finding(
        subject,
        status,
        _expected(name, rule),
        _seen(name, found, wrong),
        reason=None if context.doubt else VALUE_CUT,
        evidence=shown,
    )
    lacking = [socket for socket, options in wrong if not options]
    if status is not Status.FAIL or rule == "absent" or not lacking:
        return finding
    last = {option.name: option for option in lacking[0].options}
    return replace(finding, near=(OptionsThere(values_of(last.values())),))


def _is_unlike(context: Context, socket: KernelSocket, name: str, rule: OptionRule) -> bool:
    """Whether what a socket has now cannot be what a rule asks for, whatever calls were made."""
    from envoyassert.option_read_back import Surroundings, reads_back, stands_alone

    beside = {str(option.name) for option in socket.options}
    if rule == "absent":
        # What another option changes as well was not set for that.
        return any(
            is_named(option, name) and stands_alone(str(option.name), beside)
            for option in socket.options
        )
    if isinstance(rule, Option) and rule.phase is None and rule.value is not None:
        wanted: Any = rule.wanted
    elif isinstance(rule, int):
        wanted = rule
    else:
        return False
    witness = context.trace.witness
    own = {(d.pid, d.fd) for d in socket.descriptors if d.is_open}
    for entry in () if witness is None else witness.sockets:
        if (entry.pid, entry.fd) not in own:
            continue
        limits = dict(witness.limits) if witness is not None else {}
        place = Surroundings(socket.protocol_name, socket.address, limits, frozenset(beside))
        for key, seen in (entry.options or {}).items():
            level, _, known = key.partition("/")
            if is_named(_Named(level, known), name):
                return reads_back(level, known, wanted, seen, place) is False
    return False


def values_of(options: Iterable[OptionSet]) -> tuple[Set, ...]:
    """Return options as the values of a finding."""
    from envoyassert.judge.values import Option as Set

    return tuple(Set(o.name, o.value, o.phase) for o in options)


def ways_of(options: Iterable[Iterable[OptionSet]]) -> tuple[tuple[Set, ...], ...]:
    """Return the different ways in which options are set, in an order that is always the same."""
    ways = {repr(values): values for values in map(values_of, options)}
    return tuple(ways[key] for key in sorted(ways))


class _Named(NamedTuple):
    """An option by its names alone."""

    level: str
    name: str


def is_named(option: OptionSet | _Named, name: str) -> bool:
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
    from envoyassert.option_values import value_matches

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


def _expected(name: str, rule: OptionRule) -> Rule:
    from envoyassert.judge.values import OptionRule as Rule

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
    from envoyassert.judge.context import NO_SOCKET
    from envoyassert.judge.values import Options

    if not found:
        return NO_SOCKET
    shown = wrong or found
    return Options(name, ways_of(options for _, options in shown), len(shown), len(found))


def _options(target: Target, word: str, value: dict[str, Any]) -> Iterator[Finding]:
    yield from judge_options(target.context, target.subject.at(word), target.sockets, value)


# Envoy's listener fields by the option that they set (source/common/network/
# socket_option_factory.cc, and listener_impl.cc for when).
_KEEPALIVE = "`tcp_keepalive` of the listener (Envoy 1.37 and newer)"
_FIELDS = {
    "SO_REUSEPORT": "`enable_reuse_port: true` of the listener (the default since Envoy 1.20)",
    "IP_TRANSPARENT": "`transparent: true` of the listener",
    "IPV6_TRANSPARENT": "`transparent: true` of the listener",
    "IP_FREEBIND": "`freebind: true` of the listener",
    "IPV6_FREEBIND": "`freebind: true` of the listener",
    "IPV6_V6ONLY": "`ipv4_compat` of the listener's socket_address (true: 0, else 1)",
    "TCP_FASTOPEN": "`tcp_fast_open_queue_length` of the listener",
    **dict.fromkeys(("SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), _KEEPALIVE),
}
_ANY_OPTION = (
    "an entry of the listener's `socket_options` ({level, name, int_value, state: STATE_PREBIND})"
)
_WHEN = (
    "the `state` of an entry of socket_options says when: STATE_PREBIND before bind, "
    "STATE_BOUND after it, STATE_LISTENING after listen; its int_value says to what"
)
#: The fields of a listener (config.listener.v3.Listener) that are true or false.
_FLAGS = {
    "SO_REUSEPORT": (NO_REUSE_PORT, REUSE_PORT),
    **dict.fromkeys(
        ("IP_TRANSPARENT", "IPV6_TRANSPARENT"), ("transparent: false", "transparent: true")
    ),
    **dict.fromkeys(("IP_FREEBIND", "IPV6_FREEBIND"), ("freebind: false", "freebind: true")),
}


def _advice(finding: Finding) -> str | None:
    from envoyassert.judge.near import OptionsThere
    from envoyassert.judge.values import OptionRule as Rule

    if len(finding.path) < 4:
        return None
    name = str(finding.path[3])
    there = any(isinstance(near, OptionsThere) for near in finding.near)
    if not finding.evidence and not there:
        return ""  # no socket at all
    wanted = finding.wanted
    if (isinstance(wanted, Rule) and wanted.state == "absent") or finding.near:
        return f"{_FIELDS.get(name, _ANY_OPTION)} sets it"
    if name == "IPV6_V6ONLY":
        return f"{_FIELDS[name]} sets it; where an entry of socket_options does, its int_value"
    return _WHEN


def set_by(options: Iterable[Set]) -> str:
    """Return what of a listener's config sets options, as a list of fields."""
    return ", or ".join(dict.fromkeys(_FIELDS.get(str(one.name), _ANY_OPTION) for one in options))


def advice_on_all(seen: Options) -> str:
    """Return what to do where options that are set are not those that are asked for, "" if none."""
    unexpected, missing = seen.unexpected or (), seen.missing or ()
    names = dict.fromkeys(str(one.name) for one in unexpected)
    if not names:
        return f"set by {set_by(missing)}" if missing else ""
    if names.keys() <= {str(one.name) for one in missing}:
        return _WHEN
    return f"if {' and '.join(names)} should be set, name it too; set by {set_by(unexpected)}"


def _tries(failed: Failed) -> Iterator[object]:
    now = failed.now
    if isinstance(now, dict) and "phase" in now:
        yield from ({**now, "phase": phase} for phase in get_args(SocketPhase))
    if isinstance(now, dict) and "value" in now:
        yield from ({**now, "value": value} for value in numbers(failed))
    yield from numbers(failed)
    yield "absent"


def _field(change: Change, _: int) -> str:
    if len(change.path) < 4:
        return ""
    name, wanted = change.path[3], change.before
    if isinstance(wanted, dict):
        wanted = wanted.get("value")
    if name in _FLAGS and (wanted == "absent" or isinstance(wanted, int)):
        return _FLAGS[str(name)][wanted not in ("absent", 0)]
    if name == "TCP_FASTOPEN" and isinstance(wanted, int):
        return f"tcp_fast_open_queue_length: {wanted}"
    return ""


def _of_state(_: tuple[object, ...], __: object) -> tuple[Status, ...]:
    """What a socket has now was set, or was not; one that was closed may have been another."""
    return (Status.FAIL,)


WORD = ListenerWord(
    name="options",
    form=dict[OptionName, OptionRule],
    description="Socket options by name (SO_REUSEPORT) or level/number (1/15).",
    judge=_options,
    limits={"min_length": 1},
    example=Example("options: {SO_REUSEPORT: absent, SO_REUSEADDR: 1}", "shared", "reuse"),
    also_called=("option", "socket_options", "socket_option", "setsockopt", "sockopts"),
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
    advice=_advice,
    tries={ANY: _tries},
    config=_field,
    of_state=_of_state,
)
