"""`bind_failed`: bind() calls to the listener's address that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.scenario.grammar import ErrnoName, Model, Role
from envoyassert.scenario.quantity import Count, Range, is_any
from envoyassert.words.word import Example, ListenerWord, Part, Vacuous

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding


class BindFailed(Model):
    """bind() calls to the listener's address that failed."""

    errno: ErrnoName | None = Field(None, description="Only this error.")
    times: Count = Field(Range(at_least=1), description="How many bind() calls failed.")
    by: Role | None = Field(None, description="Which threads called bind().")


def _bind_failed(target: Target, word: str, value: BindFailed) -> Iterator[Finding]:
    from envoyassert.judge.roles import judge_callers
    from envoyassert.judge.values import Act

    calls = [call for call in target.failed if value.errno in (None, call.event.errno)]
    act = Act("bind_failed", value.errno)
    yield target.context.judge_times(
        target.subject.at(word, "times"), act, value.times, calls, from_events=True
    )
    if value.by is not None:
        by = target.subject.at(word, "by")
        yield judge_callers(target.context, by, Act("bind_failed"), value.by, calls)


def _vacuous(value: BindFailed) -> Vacuous:
    if value.by is None and is_any(value.times):
        yield ("times",), "any number of calls is right"


WORD = ListenerWord(
    name="bind_failed",
    form=BindFailed,
    description="Failed bind() calls.",
    judge=_bind_failed,
    vacuous=_vacuous,
    example=Example("bind_failed: {errno: EADDRINUSE}", "port_taken", "shared"),
    parts=(
        Part(
            BindFailed,
            "`bind_failed`",
            "[{listener: {port: 15006}, bind_failed: {%}}]",
            {
                "errno": Example("errno: EADDRINUSE", "port_taken", "port_forbidden"),
                "times": Example("times: 1", "port_taken", "port_taken_twice"),
                "by": Example("by: main", "port_taken", "port_taken_for_worker"),
            },
        ),
    ),
    done=True,
)
