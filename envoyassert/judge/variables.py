"""Variables in selectors: what an expectation gave a name to says which listener another means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from envoyassert.judge.context import Context
from envoyassert.judge.selection import ChosenSockets
from envoyassert.judge.values import Fact, Reason
from envoyassert.judge.work import Joined
from envoyassert.scenario.selector import Selector

T = TypeVar("T", bound=BaseModel)


class UnresolvedError(Exception):
    """Why a variable says nothing.

    Args:
        reason: that, as a finding has it.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def resolved(item: T, context: Context) -> T:
    """Return an expectation with its variables replaced by what they stand for.

    Args:
        item: the expectation.
        context: the trace, and what the variables of the expectations before stand for.

    Raises:
        UnresolvedError: a variable stands for nothing, for too much, or events are lost, so that it
            may stand for the wrong thing.
    """
    found: T = _replaced(item, context.variables, context.doubt)
    return found


def _replaced(value: Any, joined: Mapping[str, Joined], doubt: Reason | None) -> Any:
    if isinstance(value, Selector):
        return _selector(value, joined, doubt) if value.variable else value
    if isinstance(value, BaseModel):
        changed = {}
        for name in value.model_fields_set:
            before = getattr(value, name)
            after = _replaced(before, joined, doubt)
            if after is not before:
                changed[name] = after
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, tuple):
        members = tuple(_replaced(member, joined, doubt) for member in value)
        same = all(a is b for a, b in zip(members, value, strict=True))
        return value if same else members
    return value


def _selector(selector: Selector, joined: Mapping[str, Joined], doubt: Reason | None) -> Selector:
    name = selector.variable
    known = joined.get(name)
    if doubt:
        raise UnresolvedError(doubt)
    if known is None:
        raise UnresolvedError(Fact("variable_unknown", name=name))
    if selector.socket is not None:
        if known.fact != "socket" or not known.members:
            raise _wrong(name, known, "socket")
        return ChosenSockets(**selector.model_dump(), numbers=known.members)
    if known.fact != "port" or len(known.members) != 1:
        raise _wrong(name, known, "port")
    (port,) = known.members
    return selector.model_copy(update={"port": port})


def _wrong(name: str, known: Joined, wanted: str) -> UnresolvedError:
    return UnresolvedError(Fact("variable_is_other", name=name, names=known.names, wanted=wanted))
