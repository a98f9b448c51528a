"""The result of the Envoy process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.durations import parse_duration
from envoyassert.fact import Fact, Quote
from envoyassert.judge.verdict import Status
from envoyassert.naming import STARTUP
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Duration, Model, choice, one_of
from envoyassert.words.remedy import Failed, numbers, opposite
from envoyassert.words.word import Example, Fault, Part, Word

if TYPE_CHECKING:
    from envoyassert.judge.context import Context, Subject
    from envoyassert.judge.verdict import Finding
    from envoyassert.trace import Outcome


class Process(Model):
    """The result of the Envoy process."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [fact]} for fact in ("exits", "stays_up", "live")],
            "dependentSchemas": {
                "within": {"required": ["live"], "properties": {"live": {"const": True}}},
                "exits": {"properties": {"stays_up": {"const": False}}},
            },
        }
    )

    exits: (
        Annotated[
            Annotated[int, Field(ge=0, le=255), Tag("|int")]
            | Annotated[Literal["nonzero"], Tag("|text")],
            choice(one_of(("nonzero",)), "an exit status from 0 to 255, or `nonzero`"),
        ]
        | None
    ) = Field(None, description="Its exit status.")
    stays_up: bool | None = Field(None, description="Running at the end of the phase.")
    live: bool | None = Field(
        None,
        description="/ready said LIVE before the deadline; INCONCLUSIVE where it cannot be asked.",
    )
    within: Duration | None = Field(None, description="…and within this time (5s, 100ms).")

    @model_validator(mode="after")
    def _some_fact(self) -> Process:
        if self.exits is None and self.stays_up is None and self.live is None:
            raise ValueError("give exits, stays_up or live")
        if self.within is not None and not self.live:
            raise ValueError("within says how soon it is live; it needs live: true")
        if self.exits is not None and self.stays_up:
            raise ValueError("a process that exits does not stay up")
        return self


class ProcessExpectation(Conditional):
    """The result of the Envoy process."""

    process: Process = Field(description="Exit status, being up, being ready.")


def judge_process(
    context: Context, index: int, expectation: ProcessExpectation
) -> Iterator[Finding]:
    """Judge one `process` item; the launcher saw the process itself, so no loss matters."""
    from envoyassert.judge.context import Subject
    from envoyassert.judge.instants import not_asked, was_never_live
    from envoyassert.judge.values import Topic
    from envoyassert.state import is_state
    from envoyassert.trace import UNKNOWN_STATUS

    wanted, outcome = expectation.process, context.trace.end.outcome
    subject = Subject(Topic("process"), ("expect", index, "process"), expectation.why or "")
    seen = outcome_value(outcome)
    header = context.trace.header
    if not header.launcher and not is_state(header.unobserved):
        yield context.finding(
            subject,
            Status.INCONCLUSIVE,
            Fact("an_outcome"),
            Fact("none"),
            reason=Fact("outcome_unknown_in_import"),
        )
        return
    if wanted.exits is not None:
        status = wanted.exits == outcome.exit_code
        if wanted.exits == "nonzero":
            status = outcome.exit_code not in (None, 0)
        expected = Fact("exits", status=wanted.exits)
        if outcome.exit_code == UNKNOWN_STATUS:
            yield context.finding(
                subject.at("exits"),
                Status.INCONCLUSIVE,
                expected,
                seen,
                reason=Fact("end_not_recorded"),
            )
        else:
            yield _answer(context, subject.at("exits"), status, expected, seen)
    if wanted.stays_up is not None:
        expected = Fact("stays_up", wanted=wanted.stays_up)
        status = outcome.running is wanted.stays_up
        yield _answer(context, subject.at("stays_up"), status, expected, seen)
    checks: list[tuple[str, bool, Fact]] = []
    if wanted.live is not None:
        expected = Fact("becomes_live", wanted=wanted.live)
        checks.append(("live", bool(outcome.live) is wanted.live, expected))
    if wanted.within is not None:
        limit = parse_duration(wanted.within)
        after_s = outcome.live_after_s
        in_time = after_s is not None and after_s <= limit
        checks.append(("within", in_time, Fact("live_within", seconds=limit)))
    unknown = bool(outcome.why_not_asked) and not was_never_live(context, outcome)
    for word, holds, expected in checks:
        if unknown:
            yield context.finding(
                subject.at(word), Status.INCONCLUSIVE, expected, seen, reason=not_asked(outcome)
            )
        else:
            yield _answer(context, subject.at(word), holds, expected, seen)


def _answer(context: Context, subject: Subject, holds: bool, expected: Fact, seen: Fact) -> Finding:
    status = Status.PASS if holds else Status.FAIL
    return context.finding(subject, status, expected, seen, from_launcher=True)


def outcome_value(outcome: Outcome) -> Fact:
    """Return what happened to the process."""
    if outcome.signal is not None:
        return Fact("killed", signal=outcome.signal)
    if outcome.exit_code is not None:
        return Fact("exited", status=outcome.exit_code)
    if outcome.live:
        return Fact("live_after", seconds=outcome.live_after_s or 0)
    if outcome.live is None:
        return Fact("up_not_asked", said=Quote(outcome.why_not_asked))
    return Fact("up_not_live", seconds=outcome.deadline_s or 0)


def _faults(item: Mapping[str, object]) -> Iterator[Fault]:
    process = item.get("process")
    if isinstance(process, dict) and item.get("at_end_of") not in (None, STARTUP):
        for word in ("live", "within"):
            if word in process:
                yield Fault(
                    ("process", word),
                    f"`{word}` is about start-up",
                    "leave out `at_end_of`; to wait for LIVE: `- wait_for: {ready: true}`",
                )


def _statuses(failed: Failed) -> Iterator[int | str]:
    yield from numbers(failed)
    yield "nonzero"


def _liveness(failed: Failed) -> Iterator[bool]:
    # That an Envoy which ended was never live is what is wrong.
    yield from (live for live in opposite(failed) if live or not failed.ended)


def _of_state(place: tuple[object, ...], _: ProcessExpectation) -> tuple[Status, ...]:
    """It runs; whether it became LIVE in time is a matter of its start."""
    return (Status.PASS, Status.FAIL) if place[:1] in (("exits",), ("stays_up",)) else ()


WORD = Word(
    name="process",
    model=ProcessExpectation,
    judge=judge_process,
    about="state",
    sockets="none",
    faults=_faults,
    examples={
        "process": Example("process: {exits: 1}", "ended_1", "shared"),
    },
    parts=(
        Part(
            Process,
            "`process`",
            "[{process: {%}}]",
            {
                "exits": Example("exits: nonzero", "ended_1", "ended_0"),
                "stays_up": Example("stays_up: true", "shared", "ended_1"),
                "live": Example("live: true", "shared", "ended_1"),
                "within": Example("live: true, within: 5s", "live_after_1s", "live_after_9s"),
            },
        ),
    ),
    tries={"exits": _statuses, "live": _liveness},
    of_state=_of_state,
)
