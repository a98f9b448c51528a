"""Expectations that nothing could fail: they say nothing, though they look as if they did."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.calls import AT_ENTRY, KERNEL_FACTS
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.quantity import Count, Quantity, Range
from envoyassert.scenario.tally import Tally
from envoyassert.words.calls import CallsExpectation
from envoyassert.words.listener import ListenerExpectation
from envoyassert.words.never import NeverExpectation
from envoyassert.words.registry import Expectation

Where = tuple[str | int, ...]


def vacuous(scenario: Scenario) -> list[tuple[Where, str]]:
    """Return where a scenario expects what no trace could fail, and why none could.

    Args:
        scenario: the scenario, as written.
    """
    found: list[tuple[Where, str]] = []
    for index, item in enumerate(scenario.expect):
        found += [(("expect", index, *part), reason) for part, reason in _of(item)]
    return found


def _of(item: Expectation) -> Iterator[tuple[Where, str]]:
    if isinstance(item, ListenerExpectation):
        yield from _of_listener(item)
    elif isinstance(item, CallsExpectation):
        if _is_any(item.calls.times):
            yield ("calls", "times"), "any number of calls is right"
        elif _allows_none(item.calls.times):
            yield from _impossible(item.calls, "calls")
    elif isinstance(item, NeverExpectation):
        yield from _impossible(item.never, "never")


def _of_listener(item: ListenerExpectation) -> Iterator[tuple[Where, str]]:
    for name in ("bound", "bind_failed"):
        atom = getattr(item, name)
        if atom is not None and _is_any(atom.times) and atom.by is None:
            yield (name, "times"), "any number of calls is right"
    for name in ("sockets", "descriptors", "listen_calls"):
        count = getattr(item, name)
        if isinstance(count, Range) and _is_any(count):
            yield (name,), "any number is right"
        elif isinstance(count, Tally):
            for kind in count.model_fields_set:
                if _is_any(getattr(count, kind)):
                    yield (name, kind), "any number is right"


def _impossible(pattern: CallPattern, key: str) -> Iterator[tuple[Where, str]]:
    """Yield why a pattern that must not match could never match."""
    if pattern.errno is not None and pattern.succeeds:
        yield (key, "succeeds"), f"no call both succeeds and fails with {pattern.errno}"
    calls = (pattern.call,) if isinstance(pattern.call, str) else pattern.call
    without_result = KERNEL_FACTS | AT_ENTRY
    fails = pattern.errno is not None or pattern.succeeds is False
    if fails and set(calls) <= without_result:
        part = "errno" if pattern.errno is not None else "succeeds"
        yield (key, part), f"{' and '.join(calls)} cannot fail: no result is recorded"


def _is_any(count: Count) -> bool:
    """Whether every number of times is right."""
    if not isinstance(count, Range):
        return False
    if count.exactly is not None or count.at_most is not None:
        return False
    return _is_zero(count.at_least)


def _allows_none(count: Count) -> bool:
    if isinstance(count, Range):
        return _is_zero(count.exactly) or (count.exactly is None and _is_zero(count.at_least))
    return count == 0


def _is_zero(quantity: Quantity | None) -> bool:
    return quantity is None or quantity == 0
