"""What Envoy said of listeners that it was given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.fact import Fact, Quote
from envoyassert.judge.verdict import Status
from envoyassert.naming import STARTUP
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Model
from envoyassert.words.word import Example, Part, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.verdict import Finding
    from envoyassert.trace import UpdateResult


class Update(Model):
    """What Envoy said of listeners that it was given."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentSchemas": {"message_contains": {"properties": {"result": {"const": "nack"}}}}
        }
    )

    result: Literal["ack", "nack"] = Field(description="Whether it accepted all of them.")
    message_contains: str | None = Field(
        None, min_length=1, description="Part of what it said of those that it refused."
    )

    @model_validator(mode="after")
    def _reason_of_a_refusal(self) -> Update:
        if self.message_contains is not None and self.result != "nack":
            raise ValueError("only a refusal has a message: write result: nack")
        return self


class UpdateExpectation(Conditional):
    """What Envoy said of the listeners of a phase.

    An update that is refused without such an expectation fails the run.
    """

    update: Update = Field(description="Accepted or refused, and why.")


#: What Envoy answers to listeners that it was given.
_ANSWERS = ("ack", "nack")


def judge_update(context: Context, index: int, expectation: UpdateExpectation) -> Iterator[Finding]:
    """Judge one `update` item; the control plane saw the answer itself, so no loss matters."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.values import Topic

    wanted = expectation.update
    subject = Subject(Topic("update"), ("expect", index, "update"), expectation.why or "")
    phases = [phase for phase in context.trace.phases if phase.name == expectation.phase]
    update = phases[0].update if phases else None
    expected = Fact("listeners_are", result=wanted.result)
    if update is None or update.result not in _ANSWERS:
        yield context.finding(
            subject,
            Status.INCONCLUSIVE,
            expected,
            Fact("no_answer"),
            reason=Fact("no_update", phase=expectation.phase),
        )
        return
    holds = update.result == wanted.result
    yield _finding(context, subject.at("result"), holds, expected, update)
    if wanted.message_contains is not None:
        expected = Fact("message_contains", text=Quote(wanted.message_contains))
        if update.result == "nack" and not update.message:
            # Of an update by file only the log has it, and its level may hide the line.
            yield context.finding(
                subject.at("message_contains"),
                Status.INCONCLUSIVE,
                expected,
                Fact("answered", result=update.result, said=None),
                reason=Fact("refusal_not_logged"),
            )
            return
        holds = wanted.message_contains in update.message
        yield _finding(context, subject.at("message_contains"), holds, expected, update)


def judge_refusals(context: Context, items: Iterable[Conditional]) -> Iterator[Finding]:
    """Yield which updates Envoy refused although no expectation names them."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.values import Topic

    named = {item.phase for item in items if isinstance(item, UpdateExpectation)}
    for index, phase in enumerate(context.trace.phases):
        update = phase.update
        if update is not None and update.result == "nack" and phase.name not in named:
            first = phase.name == STARTUP
            place = ("envoy", "xds") if first else ("steps", index - 1)
            subject = Subject(Topic("phase" if first else "step", phase.name), place)
            yield _finding(context, subject, False, Fact("listeners_are", result="ack"), update)


def _finding(
    context: Context, subject: Subject, holds: bool, expected: Fact, update: UpdateResult
) -> Finding:
    status = Status.PASS if holds else Status.FAIL
    said = Quote(update.message) if update.message else None
    seen = Fact("answered", result=update.result, said=said)
    return context.finding(subject, status, expected, seen, from_launcher=True)


WORD = Word(
    name="update",
    model=UpdateExpectation,
    judge=judge_update,
    about="step",
    sockets="none",
    unsaid=judge_refusals,
    examples={
        "update": Example("update: {result: ack}", "accepted_update", "refused_update"),
    },
    parts=(
        Part(
            Update,
            "`update`",
            "[{update: {%}}]",
            {
                "result": Example("result: ack", "accepted_update", "refused_update"),
                "message_contains": Example(
                    "result: nack, message_contains: duplicate address",
                    "refused_update",
                    "refused_for_another_reason",
                ),
            },
        ),
    ),
)
