"""Smaller cases than one that shows a difference: with one thing less each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from envoyassert.explore.case import OF_OVERLOAD, Case, Listener, is_possible

#: Fields without which a listener is none.
_NEEDED = frozenset(
    {
        "name",
        "address",
        "filter_chains",
        "listener_filters",
        "udp_listener_config",
        "internal_listener",
    }
)


def cut_down(case: Case, still: Callable[[Case], bool]) -> Case:
    """Return a case of which nothing can be left out.

    Args:
        case: the case.
        still: whether a smaller case is as good.
    """
    smaller = next(filter(still, smaller_cases(case)), None)
    while smaller is not None:
        case = smaller
        smaller = next(filter(still, smaller_cases(case)), None)
    return case


def smaller_cases(case: Case) -> Iterator[Case]:
    """Yield a case with one thing less each: a step, a listener, a field, a change, workers.

    Args:
        case: the case.
    """
    for number in range(len(case.steps)):
        steps = case.steps[:number] + case.steps[number + 1 :]
        if is_possible(steps):
            yield replace(case, steps=steps)
    calm = tuple(step for step in case.steps if step.kind not in OF_OVERLOAD)
    if calm != case.steps:
        yield replace(case, steps=calm)
    names = dict.fromkeys(one["name"] for one in case.all_listeners)
    for name in names:
        yield _mapped(case, partial(_leave_out, name))
    if case.concurrency > 1:
        yield replace(case, concurrency=1)
    if case.concurrency > 2:
        yield replace(case, concurrency=2)
    kept = {"static_resources", "admin", "bootstrap_extensions"}
    if calm != case.steps:
        kept.add("overload_manager")
    for key in case.bootstrap.keys() - kept:
        rest = {name: value for name, value in case.bootstrap.items() if name != key}
        yield replace(case, bootstrap=rest)
    admin = case.bootstrap.get("admin") or {}
    if "socket_options" in admin:
        plain = {"address": admin["address"]}
        yield replace(case, bootstrap={**case.bootstrap, "admin": plain})
    for name in names:
        yield from _plainer(case, name)


def _plainer(case: Case, name: str) -> Iterator[Case]:
    """Yield a case with a field less of a listener, or with one that is the same in each form."""
    forms = [one for one in case.all_listeners if one["name"] == name]
    for field in sorted({field for one in forms for field in one} - _NEEDED):
        yield _mapped(case, partial(_without, name, field))
        yield from _shorter(case, name, field)
    for field in sorted(_NEEDED & forms[0].keys()):
        value = forms[0][field]
        if any(one.get(field) != value for one in forms):
            yield _mapped(case, partial(_with_value, name, field, value))


def _leave_out(name: str, listener: Listener) -> Listener | None:
    return None if listener["name"] == name else listener


def _without(name: str, field: str, listener: Listener) -> Listener:
    if listener["name"] != name:
        return listener
    return {key: value for key, value in listener.items() if key != field}


def _with_value(name: str, field: str, value: Any, listener: Listener) -> Listener:
    return {**listener, field: value} if listener["name"] == name else listener


def _shorter(case: Case, name: str, field: str) -> Iterator[Case]:
    """Yield a case with one element less in a list of a listener."""
    values = [one.get(field) for one in case.all_listeners if one["name"] == name]
    longest = max((len(value) for value in values if isinstance(value, list)), default=0)
    for at in range(longest if longest > 1 else 0):

        def change(one: Listener, at: int = at) -> Listener:
            value: Any = one.get(field)
            if one["name"] != name or not isinstance(value, list) or len(value) <= at:
                return one
            return {**one, field: value[:at] + value[at + 1 :]}

        yield _mapped(case, change)


def _mapped(case: Case, change: Callable[[Listener], Listener | None]) -> Case:
    """Return a case with a change of each form of its listeners."""

    def changed(listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        return tuple(one for one in map(change, listeners) if one is not None)

    steps = tuple(
        step if step.listeners is None else replace(step, listeners=changed(step.listeners))
        for step in case.steps
    )
    return replace(case, listeners=changed(case.listeners), steps=steps)
