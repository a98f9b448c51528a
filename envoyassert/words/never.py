"""`never`: no observed call matches a pattern."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from envoyassert.judge.calls import matching, possible, unresolved
from envoyassert.judge.context import Context, Subject
from envoyassert.judge.interval import Interval, count_of
from envoyassert.judge.values import Calls, Number, Topic
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
    topic = Topic("never", calls=pattern)
    subject = Subject(topic, ("expect", index, "never"), expectation.why or "")
    found, problem, _ = matching(context, pattern)
    if problem:
        yield unresolved(context, subject, pattern, problem)
        return
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
