"""`never`: no observed call matches a pattern."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from envoyassert.judge.context import Context
from envoyassert.judge.interval import Interval, count_of
from envoyassert.judge.matching import matches_of, possible
from envoyassert.judge.values import Calls, Number
from envoyassert.judge.verdict import Finding
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.pattern import CallPattern, impossible
from envoyassert.words.word import Example, Vacuous, Word

_NEVER = Interval(0, 0)


class NeverExpectation(Conditional):
    """No call matches."""

    never: CallPattern = Field(description="Which call.")

    @property
    def says_none(self) -> bool:
        """It does."""
        return True


def judge_never(context: Context, index: int, expectation: NeverExpectation) -> Iterator[Finding]:
    """Judge that no call matches a pattern."""
    pattern = expectation.never
    subject, matched = matches_of(context, "never", index, pattern, expectation.why)
    if isinstance(matched, Finding):
        yield matched
        return
    found = matched.events
    yield context.finding(
        subject,
        possible(context, pattern, found).compare(_NEVER),
        count_of(Calls(pattern), _NEVER),
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
