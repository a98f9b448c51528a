"""`bound`: successful bind() calls to the listener's address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.scenario.grammar import Model, Role
from envoyassert.scenario.quantity import Count, Range, is_any
from envoyassert.words.remedy import at_place, field_of_number
from envoyassert.words.word import Example, ListenerWord, Part, Vacuous

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


class Bound(Model):
    """Successful bind() calls to the listener's address."""

    times: Count = Field(Range(at_least=1), description="How many bind() calls succeeded.")
    by: Role | None = Field(None, description="Which threads called bind().")


def _bound(target: Target, word: str, value: Bound) -> Iterator[Finding]:
    from envoyassert.judge.roles import judge_callers
    from envoyassert.judge.values import Act

    calls = target.calls("binds")
    subject = target.subject.at(word, "times")
    # The address stands in the call's own arguments, so a bind is sure whatever was lost.
    yield target.context.judge_times(
        subject, Act("bind"), value.times, calls, shape=target.shape, from_events=True
    )
    if value.by is not None:
        by = target.subject.at(word, "by")
        yield judge_callers(target.context, by, Act("bind"), value.by, calls)


def _vacuous(value: Bound) -> Vacuous:
    if value.by is None and is_any(value.times):
        yield ("times",), "any number of calls is right"


_BOUND_BY = (
    "since Envoy 1.20 main binds all sockets of a listener; up to 1.19 each worker bound its own "
    "where reuse_port was on"
)

WORD = ListenerWord(
    name="bound",
    form=Bound,
    description="Successful bind() calls.",
    judge=_bound,
    vacuous=_vacuous,
    example=Example("bound: {times: 1, by: main}", "shared", "reuse", during=True),
    also_called=("bind", "binds", "binding"),
    parts=(
        Part(
            Bound,
            "`bound`",
            "[{listener: {port: 15006}, bound: {%}}]",
            {
                "times": Example("times: 1", "shared", "reuse"),
                "by": Example("by: main", "shared", "bound_by_worker"),
            },
        ),
    ),
    done=True,
    advice=at_place({("by",): _BOUND_BY}),
    config=field_of_number,
)
