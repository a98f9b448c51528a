"""`attempts`: what happened to the clients of a step, as they saw it themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Model, choice, one_of
from envoyassert.scenario.quantity import Count
from envoyassert.words.word import Example, Fault, Part, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.verdict import Finding
    from envoyassert.trace import ConnectionAttempt

#: What connect() fails with where no one listens: at an address, or at a Unix path that is gone.
_REFUSED = ("ECONNREFUSED", "ENOENT")
_OUTCOMES = ("made", "refused", "answered", "held", "eof", "reset", "silent")


class Attempts(Model):
    """The attempts of a `connect` step or of a `load`, as the clients saw them."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [fact]} for fact in _OUTCOMES]}
    )

    made: Count | None = Field(None, description="connect() succeeded (UDP: it was sent).")
    refused: Count | None = Field(
        None, description="Nothing listened: ECONNREFUSED, or ENOENT for a Unix path."
    )
    answered: Count | None = Field(None, description="Something came back.")
    held: Count | None = Field(None, description="Still open when the step was over.")
    eof: Count | None = Field(None, description="Envoy closed it before it answered.")
    reset: Count | None = Field(None, description="It was reset.")
    silent: Count | None = Field(None, description="No answer before the deadline.")

    @model_validator(mode="after")
    def _some_fact(self) -> Attempts:
        if not self.model_fields_set & set(_OUTCOMES):
            raise ValueError(f"give one of {', '.join(_OUTCOMES)}")
        return self


class AttemptsExpectation(Conditional):
    """How the clients of a `connect` step, or of the `load` of any, ended."""

    attempts: Annotated[
        Annotated[Literal["answered", "made", "refused"], Tag("|text")]
        | Annotated[Attempts, Tag("|Attempts")],
        choice(
            one_of(("answered", "made", "refused"), Attempts=_OUTCOMES),
            "`answered`, `made` or `refused`, which then all are, or {answered: 20, reset: none}",
        ),
    ] = Field(description="What all of them are, or how many are what; `during` says which step.")


def judge_attempts(
    context: Context, index: int, expectation: AttemptsExpectation
) -> Iterator[Finding]:
    """Judge what happened to the clients; the driver saw it itself, so no loss matters."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.values import Topic

    subject = Subject(Topic("clients"), ("expect", index, "attempts"), expectation.why or "")
    wanted = {expectation.phase}
    attempts = [a for phase in context.trace.phases if phase.name in wanted for a in phase.attempts]
    if not attempts:
        yield context.finding(
            subject,
            Status.INCONCLUSIVE,
            Fact("clients_that_connect"),
            Fact("none"),
            reason=Fact("no_attempts", phase=expectation.phase),
            from_launcher=True,
        )
        return
    counts = fates(attempts)
    value = expectation.attempts
    if isinstance(value, str):
        yield _answer(context, subject, value, len(attempts), counts, attempts)
        return
    for name in Attempts.model_fields:
        count = getattr(value, name)
        if count is not None:
            yield _answer(context, subject.at(name), name, count, counts, attempts)


def _answer(
    context: Context,
    subject: Subject,
    name: str,
    count: Count,
    counts: Counter[str],
    attempts: Sequence[ConnectionAttempt],
) -> Finding:
    from envoyassert.judge.interval import Interval, count_of
    from envoyassert.judge.values import Things

    wanted = context.wanted_interval(count)
    number = counts[name]
    holds = wanted is not None and (Interval(number, number).compare(wanted) is Status.PASS)
    failed = Counter(attempt.errno for attempt in attempts if attempt.errno)
    # The result of the others, unless an error says it.
    others = Counter(
        attempt.end or ("made" if attempt.ok else "not made")
        for attempt in attempts
        if not attempt.errno and not fates([attempt])[name]
    )
    return context.finding(
        subject,
        Status.PASS if holds else Status.FAIL,
        count_of(Things("attempt", name), wanted),
        Fact(
            "attempts",
            fate=name,
            number=number,
            total=len(attempts),
            others=dict(others),
            errors=dict(failed),
        ),
        from_launcher=True,
    )


def fates(attempts: Sequence[ConnectionAttempt]) -> Counter[str]:
    """Return how many attempts ended how; one of them may count under several words."""
    counts: Counter[str] = Counter()
    for attempt in attempts:
        counts["made"] += attempt.ok
        counts["refused"] += attempt.errno in _REFUSED and not attempt.ok
        counts["answered"] += attempt.first_byte
        counts["silent"] += attempt.errno == "ETIMEDOUT"
        if attempt.end:
            counts[attempt.end] += 1
    return counts


def _faults(item: Mapping[str, object]) -> Iterator[Fault]:
    if not (item.get("during") or item.get("at_end_of")):
        yield Fault(
            ("attempts",),
            "whose attempts are meant is not said",
            "add `during:` with the name of a step that has clients: `connect`, or one with `load`",
        )


WORD = Word(
    name="attempts",
    model=AttemptsExpectation,
    judge=judge_attempts,
    about="step",
    sockets="none",
    faults=_faults,
    examples={
        "attempts": Example("attempts: answered, during: connect", "all_answered", "one_silent"),
    },
    parts=(
        Part(
            Attempts,
            "`attempts`",
            "[{attempts: {%}, during: connect}]",
            {
                "made": Example("made: 20", "all_answered", "one_refused"),
                "refused": Example("refused: none", "all_answered", "one_refused"),
                "answered": Example("answered: 20", "all_answered", "one_silent"),
                "held": Example("held: 20", "all_answered", "one_closed"),
                "eof": Example("eof: none", "all_answered", "one_closed"),
                "reset": Example("reset: none", "all_answered", "one_reset"),
                "silent": Example("silent: none", "all_answered", "one_silent"),
            },
        ),
    ),
)
