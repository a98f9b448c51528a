"""The values of findings in words, patterns of calls too; those of facts are in `texts.facts`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from envoyassert.addresses import Address
from envoyassert.durations import duration_in_words
from envoyassert.judge import values as v
from envoyassert.judge.interval import plural
from envoyassert.judge.near import FailedBinds, Mismatch, NearCall, NearListener, OptionsThere
from envoyassert.option_values import value_text
from envoyassert.scenario.pattern import CallPattern, StackPattern
from envoyassert.scenario.selector import Selector


def pattern_words(pattern: CallPattern) -> str:
    """Return a pattern as words: `bind() by main on port 80 failing with EADDRINUSE`."""
    words = [" or ".join(f"{call}()" for call in pattern.calls)]
    if pattern.by is not None:
        words.append(f"by {pattern.by}")
    if pattern.listener is not None:
        words.append(f"on {pattern.listener}")
    if pattern.args:
        words.append("with " + ", ".join(f"{name} {v}" for name, v in pattern.args.items()))
    if pattern.errno is not None:
        words.append(f"failing with {pattern.errno}")
    elif pattern.succeeds is not None:
        words.append("succeeding" if pattern.succeeds else "failing")
    if pattern.stack is not None:
        words.append(stack_words(pattern.stack))
    return " ".join(words)


def stack_words(pattern: StackPattern) -> str:
    """Return `from "Listener::bind"`, or where else a call should come from."""
    if pattern.texts:
        return "from " + " and ".join(f'"{text}"' for text in pattern.texts)
    if pattern.same_as is not None:
        source = pattern.same_as
        words = [f"from where {source.call}()"]
        if source.by is not None:
            words.append(f"by {source.by}")
        if source.listener is not None:
            words.append(f"on {source.listener}")
        if source.errno is not None:
            words.append(f"failing with {source.errno}")
        elif source.succeeds is not None:
            words.append("succeeding" if source.succeeds else "failing")
        return " ".join([*words, "came"])
    sites = {site for build_id in pattern.call_site or () for site in pattern.sites_of(build_id)}
    return f"from call site {' or '.join(sorted(sites))}"


#: How many frames of a stack are shown.
_FRAMES = 3
_PHASES = {"before_bind": "before bind", "bound": "after bind", "listening": "after listen"}
_ACTS = {
    "bind": "bound",
    "bind_failed": "bind failed",
    "listen": "listen() called",
    "listened": "listened",
    "serve": "served",
    "accept": "accepted",
    "accept_failed": "accept() failed",
    "handle": "handled",
}
#: What is counted of an act; of one that is not here the words are those above.
_COUNTED = {
    "bind": "bind() call",
    "bind_failed": "failed bind() call",
    "listen": "listen() call",
    "accept": "accepted connection",
    "accept_failed": "failed accept() call",
}
_TOPICS = {"others": "other sockets"}
_NAMED_ALONE = frozenset({"invariant", "phase", "envoy", "item"})


@singledispatch
def text(value: Any) -> str:
    """Return any value of a finding in words; "" for None.

    Raises:
        TypeError: it is no value that a finding may have.
    """
    raise TypeError(f"no words for {value!r}")


@text.register
def _(_value: None) -> str:
    return ""


@text.register(str)
@text.register(int)
@text.register(float)
@text.register(Selector)
@text.register(Address)
def _(value: object) -> str:
    return str(value)


@text.register(tuple)
def _(value: tuple[Any, ...]) -> str:
    return listed(value)


def listed(values: Iterable[Any], sign: str = ", ") -> str:
    """Return several values in words, one after the other."""
    return sign.join(map(text, values))


@text.register
def _(value: v.Quote) -> str:
    return value.text


@text.register
def _(value: v.Certified) -> str:
    return "; ".join(text(found) for _, found in value.checks)


@text.register
def _(value: v.TimeSpan) -> str:
    return duration_in_words(value.ns)


@text.register
def _(value: v.Topic) -> str:
    if value.listener is not None:
        where = f"{value.listener} {value.address}".rstrip()
        named = bool(value.name) and value.listener.name is None
        return f"listener {value.name}, {where}" if named else where
    if value.calls is not None:
        return f"{value.kind} {pattern_words(value.calls)}"
    if value.kind in _NAMED_ALONE:
        return value.name
    return f"{_TOPICS.get(value.kind, value.kind)} {value.name}".rstrip()


# what is counted


@text.register
def _(value: v.Act) -> str:
    return _ACTS[value.name] + _with(value)


def _with(act: v.Act) -> str:
    return f" with {act.errno}" if act.errno else ""


@text.register
def _(value: v.Calls) -> str:
    words = pattern_words(value.pattern)
    return words if value.which == "every" else f"the {value.which} {words}"


@text.register
def _(value: CallPattern) -> str:
    return pattern_words(value)


@text.register
def _(value: v.Things) -> str:
    return _of_state(value.noun, value.state)


def _of_state(counted: str, state: str) -> str:
    """Return `2 descriptors (serving)`, `1 socket created and served`."""
    if state in ("created", "inherited"):
        return f"{counted} {state} and served"
    return f"{counted} ({state})"


@text.register
def _(value: v.Count) -> str:
    each = f" for each {value.each}" if value.each else ""
    of = value.of
    if isinstance(of, v.Things):
        if of.noun == "attempt":
            return f"{_range(value)} {of.state}"
        if value.low is None:
            plurals = "a count of" if of.noun == "socket" else f"a count of {of.noun}s"
            return _of_state(plurals, of.state) + each
        if not each:
            return _of_state(_how_many(value, of.noun), of.state)
    if value.low is None:
        return f"{text(of)} a number of times" + (each or " that grows with the workers")
    if isinstance(of, v.Act) and of.name in _COUNTED:
        noun = _COUNTED[of.name]
        number = f"no {noun}" if value.high == 0 else _how_many(value, noun)
        return f"{number}{_with(of)}{each}"
    if isinstance(of, v.Calls) and value.high == 0 and not each:
        return f"never {text(of)}"
    return f"{text(of)} {_times(value)}{each}"


def _range(value: v.Count) -> str:
    if value.low is None:
        return "an unknown number"
    if value.low == value.high:
        return str(value.low)
    return f"at least {value.low}" if value.high is None else f"{value.low} to {value.high}"


def _how_many(value: v.Count, noun: str) -> str:
    """Return `2 sockets`, `at least 1 socket`, `at most 3 sockets`."""
    low = value.low or 0
    if low == value.high:
        return plural(low, noun)
    if value.high is None:
        return f"at least {plural(low, noun)}"
    return f"at most {plural(value.high, noun)}" if low == 0 else f"{low} to {value.high} {noun}s"


def _times(value: v.Count) -> str:
    """Return `exactly 1 time`, `at least 2 times`, `never`."""
    if value.low == value.high:
        return f"exactly {_how_many(value, 'time')}" if value.low else "never"
    return _how_many(value, "time")


def so_often(number: int) -> str:
    """Return what was seen: `never`, `1 time`, `2 times`."""
    return plural(number, "time") if number else "never"


@text.register
def _(value: v.Number) -> str:
    if isinstance(value.of, v.Things):
        return _of_state(plural(value.number, value.of.noun), value.of.state)
    if isinstance(value.of, v.Act) and value.of.name in _COUNTED:
        noun = _COUNTED[value.of.name]
        number = plural(value.number, noun) if value.number else f"no {noun}"
        return number + _with(value.of)
    return f"{text(value.of)} {so_often(value.number)}"


def number_alone(seen: v.Number, wanted: object) -> str:
    """Return how many were seen of what was asked for, "" if the two do not count the same."""
    if not isinstance(wanted, v.Count) or wanted.low is None or wanted.each:
        return ""
    alone = seen.of == wanted.of and not isinstance(seen.of, v.Calls)
    return str(seen.number or "none") if alone else ""


@text.register
def _(value: v.Groups) -> str:
    words = ", ".join(f"{text(name)} {so_often(number)}" for name, number in value.members)
    if value.total == 1:
        return words
    return f"{words} ({value.deciding} of {plural(value.total, value.each)})"


# who and what


@text.register
def _(value: v.ThreadName) -> str:
    if not value.name:
        return value.word
    process = "" if value.process is None else f", process {value.process}"
    return f"{value.word} ({value.name}{process})"


@text.register
def _(value: v.SocketName) -> str:
    return f"socket {value.number} ({value.address or 'never bound'})"


@text.register
def _(value: v.BoundSocket) -> str:
    return f"{value.protocol} {value.address or 'without an address'}"


@text.register
def _(value: v.ListenerAddress) -> str:
    return f"{value.listener} {value.address}"


@text.register
def _(value: v.DescriptorName) -> str:
    return f"descriptor {value.fd} of process {value.process}"


def _by(act: v.Act) -> str:
    stood_in = " (by listen(), for epoll was not observed)" if act.by_listen else ""
    return f"{text(act)} by{stood_in}"


@text.register
def _(value: v.By) -> str:
    if value.role == "workers":
        who = f"each of {plural(value.workers, 'worker')} and no other thread"
    else:
        who = "no thread" if value.role == "none" else f"{value.role} and no other thread"
    return f"{_by(value.act)} {who}"


def threads_words(threads: tuple[v.ThreadName, ...]) -> str:
    """Return `main, worker_0`, or `no thread`."""
    return listed(threads) or "no thread"


@text.register
def _(value: v.Threads) -> str:
    note = "" if value.note is None else f" ({text(value.note)})"
    return f"{_by(value.act)} {threads_words(value.threads)}{note}"


# options


@text.register
def _(value: v.OptionRule) -> str:
    if value.state == "absent":
        return f"{value.name} set on no socket"
    state = "set" if value.state == "set" else f"= {value_text(value.value)}"
    phase = f" {_PHASES[value.phase]}" if value.phase else ""
    return f"{value.name} {state}{phase} on every socket"


@text.register
def _(value: v.Option) -> str:
    return f"{value.name} {_set_to(value)}"


def _set_to(option: v.Option) -> str:
    return "set" if option.any_value else f"= {value_text(option.value)}"


def options_words(options: Iterable[v.Option]) -> str:
    """Return options by phase: `SO_REUSEADDR = 1 before bind; TCP_FASTOPEN = 5 after listen`."""
    groups: dict[str, list[str]] = {}
    for option in options:
        groups.setdefault(option.phase, []).append(text(option))
    described = [f"{', '.join(groups[phase])} {_PHASES[phase]}" for phase in groups]
    return "; ".join(described) or "no option at all"


def options_apart(value: v.Options) -> str:
    """Return `unexpected TCP_FASTOPEN = 5 after listen, missing SO_REUSEADDR = 1 before bind`."""
    parts = (("unexpected", value.unexpected), ("missing", value.missing))
    return ", ".join(f"{name} {options_words(options)}" for name, options in parts if options)


@text.register
def _(value: v.Options) -> str:
    on = f"{value.sockets} of {plural(value.total, 'socket')}"
    if value.name is None:
        return f"{' / '.join(sorted(map(options_words, value.ways)))}: {on}"
    ways = sorted(
        ", then ".join(f"{_set_to(one)} {_PHASES[one.phase]}" for one in way) or "not set"
        for way in value.ways
    )
    return f"{value.name} {' / '.join(ways)} on {on}"


@text.register
def _(value: v.Shape) -> str:
    words = [
        f"{plural(value.sockets, 'kernel socket')} ({value.reuse or 'none'} with SO_REUSEPORT)",
        plural(value.descriptors, "descriptor"),
        plural(value.threads, "serving thread"),
    ]
    of = "" if value.workers is None else f" of {plural(value.workers, 'worker')}"
    return ", ".join(words) + (f": {value.name}" if value.name else "") + of


# near misses


@text.register
def _(value: Mismatch) -> str:
    seen, wanted = value.seen, value.wanted
    if value.field == "errno":
        return f"{_result(seen)}, not with {wanted}"
    if value.field == "succeeds":
        return _result(seen)
    if value.field == "stack":
        shown = " < ".join(seen[:_FRAMES]) + (" < …" if len(seen) > _FRAMES else "")
        return f"from {shown}, without {wanted}"
    if value.field == "call_site":
        return f"from call site {seen}, not {' or '.join(wanted)}"
    if value.field == "same_as":
        return f"from call site {seen}, which is none of {', '.join(wanted)}"
    if value.field == "by":
        return f"by {text(seen)}, not {wanted}"
    return f"{value.field.removeprefix('args.')} {seen}, not {wanted}"


def _result(errno: str | None) -> str:
    return f"failed with {errno}" if errno else "succeeded"


@text.register
def _(value: NearListener) -> str:
    name = ""
    if value.listener is not None:
        name = f" (listener {value.listener})" if value.listener else " (the admin endpoint)"
    facts = [listed(value.differs)]
    if value.errno is not None:
        facts.append(f"bind failed with {value.errno}")
    elif value.bound_by:
        facts.append(f"bound by {listed(value.bound_by)}")
    if value.served_by:
        facts.append(f"served by {listed(value.served_by)}")
    return f"{value.protocol} {value.address}{name}: {'; '.join(fact for fact in facts if fact)}"


@text.register
def _(value: FailedBinds) -> str:
    times = "" if value.times == 1 else f" {plural(value.times, 'time')}"
    who = threads_words(value.by)
    return f"bind() to {value.address} by {who} failed{times} with {', '.join(value.errnos)}"


@text.register
def _(value: NearCall) -> str:
    return f"{value.call}(): {listed(value.differs)}"


@text.register
def _(value: OptionsThere) -> str:
    words = ", ".join(f"{text(one)} {_PHASES[one.phase]}" for one in value.options)
    return f"set there: {words or 'no option at all'}"
