"""`in_order`: every instant of a step precedes every instant of the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from envoyassert.ranges import MOST_IN_ORDER
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Many
from envoyassert.scenario.timing import Moment
from envoyassert.words.remedy import turned
from envoyassert.words.word import Example, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context
    from envoyassert.judge.verdict import Finding


class InOrderExpectation(Conditional):
    """Every instant of a step precedes every instant of the next step."""

    in_order: Many[Moment] = Field(min_length=2, max_length=MOST_IN_ORDER, description="The steps.")


def judge_in_order(
    context: Context, index: int, expectation: InOrderExpectation
) -> Iterator[Finding]:
    """Judge the order of instants across threads and sockets."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.instants import instants_of
    from envoyassert.judge.order import judge_sequence
    from envoyassert.judge.values import Topic

    subject = Subject(Topic("order"), ("expect", index, "in_order"), expectation.why or "")
    yield judge_sequence(context, subject, [instants_of(context, m) for m in expectation.in_order])


_ADVICE = (
    "an order holds if every match of a step comes before every match of the next one; the calls "
    "below are the first of the later step, and those of the earlier one that came after it"
)


def advice(finding: Finding) -> str:
    """Return what an order is, where one was seen that is another."""
    return _ADVICE if finding.evidence and not finding.near else ""


WORD = Word(
    name="in_order",
    model=InOrderExpectation,
    judge=judge_in_order,
    examples={
        "in_order": Example(
            "in_order: [{call: bind, by: main}, {call: listen}, live]",
            "shared",
            "shared_late",
            during=True,
        ),
    },
    advice=advice,
    tries={"in_order": turned},
)
