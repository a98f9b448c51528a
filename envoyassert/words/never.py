"""`never`: no observed call matches a pattern."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.pattern import CallPattern, impossible
from envoyassert.words.word import Example, Vacuous, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context
    from envoyassert.judge.verdict import Finding


class NeverExpectation(Conditional):
    """No call matches."""

    never: CallPattern = Field(description="Which call.")

    @property
    def says_none(self) -> bool:
        """It does."""
        return True


def judge_never(context: Context, index: int, expectation: NeverExpectation) -> Iterator[Finding]:
    """Judge that no call matches a pattern."""
    from envoyassert.judge.interval import Interval, count_of
    from envoyassert.judge.matching import matches_of, possible
    from envoyassert.judge.values import Calls, Number
    from envoyassert.judge.verdict import Finding

    pattern = expectation.never
    subject, matched = matches_of(context, "never", index, pattern, expectation.why)
    if isinstance(matched, Finding):
        yield matched
        return
    found = matched.events
    yield context.finding(
        subject,
        possible(context, pattern, found).compare(Interval(0, 0)),
        count_of(Calls(pattern), Interval(0, 0)),
        Number(Calls(pattern), len(found)),
        evidence=found,
        from_events=pattern.listener is None,
    )


def _vacuous(expectation: NeverExpectation) -> Vacuous:
    for field, reason in impossible(expectation.never):
        yield ("never", field), reason


WORD = Word(
    name="never",
    model=NeverExpectation,
    judge=judge_never,
    vacuous=_vacuous,
    forbids=lambda item: item.never,
    examples={
        "never": Example(
            "never: {call: bind, errno: EADDRINUSE}", "shared", "port_taken", during=True
        ),
    },
)
