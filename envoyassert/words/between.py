"""`between`: how long it takes from one instant to another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.fact import Fact
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Many
from envoyassert.scenario.timing import Each, Lasts, Moment
from envoyassert.words.word import Example, Part, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context
    from envoyassert.judge.verdict import Finding


class BetweenExpectation(Conditional):
    """How long it takes from one instant to another; every pair of them, the first before."""

    between: Many[Moment] = Field(
        min_length=2, max_length=2, description="From when, and until when."
    )
    lasts: Lasts = Field(description="How long.")
    each: Each | None = Field(
        None, description="Among the calls of each socket, or of each worker, by itself."
    )


def judge_between(
    context: Context, index: int, expectation: BetweenExpectation
) -> Iterator[Finding]:
    """Judge how long it takes from one instant to another."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.instants import instants_of
    from envoyassert.judge.order import judge_lasting, wanted_span
    from envoyassert.judge.values import Topic

    subject = Subject(Topic("duration"), ("expect", index, "lasts"), expectation.why or "")
    begin, end = (instants_of(context, moment) for moment in expectation.between)
    yield judge_lasting(
        context,
        subject,
        Fact(
            "from_to", first=begin.moment, second=end.moment, lasts=wanted_span(expectation.lasts)
        ),
        (begin, end),
        expectation.each,
        expectation.lasts,
    )


WORD = Word(
    name="between",
    model=BetweenExpectation,
    judge=judge_between,
    examples={
        "between": Example(
            "between: [start, {listener: {port: 15006}, becomes: listening}]",
            "shared",
            "shared_slowly",
            inside="[{%, lasts: {at_most: 5s}}]",
        ),
        "lasts": Example(
            "lasts: {at_most: 5s}",
            "shared",
            "shared_slowly",
            inside="[{between: [start, {listener: {port: 15006}, becomes: listening}], %}]",
        ),
        "each": Example(
            "each: socket",
            "one_after_another",
            "one_is_slow",
            inside="[{between: [{call: bind}, {call: listen}], lasts: {at_most: 5s}, %}]",
            during=True,
        ),
    },
    parts=(
        Part(
            Lasts,
            "`lasts`",
            "[{between: [{call: bind}, {call: listen}], lasts: {%}}]",
            {
                "at_least": Example("at_least: 2s", "slow_listen", "shared"),
                "at_most": Example("at_least: 2s, at_most: 5s", "slow_listen", "slower_listen"),
                "tolerance": Example(
                    "at_most: 100ms, tolerance: 20ms", "listen_after_110ms", "slow_listen"
                ),
            },
        ),
    ),
)
