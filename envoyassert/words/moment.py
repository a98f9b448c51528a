"""`moment`: when something happens, against what it precedes and follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field, model_validator

from envoyassert.fact import Fact
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Duration
from envoyassert.scenario.timing import Each, Lasts, Moment
from envoyassert.words.word import Example, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context
    from envoyassert.judge.verdict import Finding


class MomentExpectation(Conditional):
    """When something happens: every one of these instants, against every one of the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["before"]}, {"required": ["after"]}],
            "dependentSchemas": {"within": {"not": {"required": ["before", "after"]}}},
        }
    )

    moment: Moment = Field(description="What happens.")
    before: Moment | None = Field(None, description="It precedes this.")
    after: Moment | None = Field(None, description="It follows this.")
    within: Duration | None = Field(
        None, description="…by no more than this long; with either `before` or `after`."
    )
    each: Each | None = Field(
        None, description="Among the calls of each socket, or of each worker, by itself."
    )

    @model_validator(mode="after")
    def _some_relation(self) -> MomentExpectation:
        if self.before is None and self.after is None:
            raise ValueError("give before or after")
        if self.within is not None and None not in (self.before, self.after):
            raise ValueError("within goes with either before or after, not with both")
        return self


def judge_moment(context: Context, index: int, expectation: MomentExpectation) -> Iterator[Finding]:
    """Judge when something happens, against what it precedes and follows."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.instants import instants_of
    from envoyassert.judge.order import judge_lasting, judge_pair, precedes, to_ns
    from envoyassert.judge.values import TimeSpan, Topic

    subject = Subject(Topic("time"), ("expect", index), expectation.why or "")
    for word in ("before", "after"):
        other = getattr(expectation, word)
        if other is None:
            continue
        here, there = instants_of(context, expectation.moment), instants_of(context, other)
        pair = (here, there) if word == "before" else (there, here)
        at = subject.at(word)
        yield judge_pair(
            context,
            at,
            Fact("in_relation", first=here.moment, word=word, second=there.moment),
            pair,
            expectation.each,
            lambda a, b: precedes([a, b]),
        )
        if expectation.within is not None:
            limit = Lasts(at_most=expectation.within)
            yield judge_lasting(
                context,
                subject.at("within"),
                Fact(
                    "in_relation",
                    first=here.moment,
                    within=TimeSpan(to_ns(expectation.within)),
                    word=word,
                    second=there.moment,
                ),
                pair,
                expectation.each,
                limit,
            )


WORD = Word(
    name="moment",
    model=MomentExpectation,
    judge=judge_moment,
    examples={
        "moment": Example(
            "moment: {call: bind}, before: {call: listen}", "shared", "another_bind_late"
        ),
        "before": Example(
            "moment: {call: bind, listener: {port: 15006}}, before: {call: listen}",
            "shared",
            "one_after_another",
            during=True,
        ),
        "after": Example(
            "moment: live, after: {listener: {port: 15006}, becomes: listening}",
            "shared",
            "shared_late",
        ),
        "within": Example(
            "moment: {listener: {port: 15006}, becomes: served}, after: start, within: 5s",
            "shared",
            "shared_slowly",
        ),
        "each": Example(
            "moment: {call: bind}, before: {call: listen}, each: socket",
            "one_after_another",
            "one_listens_first",
        ),
    },
)
