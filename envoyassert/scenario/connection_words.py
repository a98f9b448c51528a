"""What a scenario may say of connections: who accepts and handles them, and how clients fared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import ErrnoName, Model, RoleOrNone, choice, one_of
from envoyassert.scenario.quantity import Count

_FACTS = ("total", "accepted_by", "handled_by", "spread", "errors")


class Even(Model):
    """As even as chance makes it: each worker is as likely as any other, for each connection."""

    false_alarm: float = Field(
        0.001,
        gt=0,
        lt=0.5,
        description="How often an even spread may be called uneven: the rate of false alarms.",
    )


class Spread(Model):
    """How the connections are spread over the workers."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [way]} for way in ("differ_by", "even")]}
    )

    of: Literal["accepted", "handled"] = Field(
        "handled", description="By who called accept(), or by who handles them."
    )
    differ_by: int | None = Field(
        None,
        ge=0,
        description="Exactly: no two workers have numbers that differ by more than this, as under "
        "exact_balance.",
    )
    even: Even | None = Field(
        None,
        description="By chance, where the kernel decides: FAIL only if so uneven a spread is "
        "rarer than the rate of false alarms. Needs 20 connections per worker.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Spread:
        if (self.differ_by is None) == (self.even is None):
            raise ValueError("give either differ_by or even")
        return self


class Connections(Model):
    """The connections that were accepted on the listener's sockets."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [fact]} for fact in _FACTS]}
    )

    total: Count | None = Field(None, description="How many were accepted.")
    accepted_by: RoleOrNone | None = Field(None, description="Which threads called accept().")
    handled_by: RoleOrNone | None = Field(
        None,
        description="In whose epoll they were registered first; under exact_balance that may be "
        "another thread than the one that accepted.",
    )
    spread: Spread | None = Field(None, description="How they are spread over the workers.")
    errors: dict[ErrnoName, Count] | None = Field(
        None, min_length=1, description="How many calls of accept() failed, by error."
    )

    @model_validator(mode="after")
    def _some_fact(self) -> Connections:
        if not self.model_fields_set & set(_FACTS):
            raise ValueError(f"give one of {', '.join(_FACTS)}")
        return self


_OUTCOMES = ("made", "refused", "answered", "held", "eof", "reset", "silent")


class Attempts(Model):
    """The attempts of a `connect` step or of a `load`, as the clients saw them."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [fact]} for fact in _OUTCOMES]}
    )

    made: Count | None = Field(None, description="connect() succeeded (UDP: it was sent).")
    refused: Count | None = Field(
        None, description="Nobody listened: ECONNREFUSED, or ENOENT for a Unix path."
    )
    answered: Count | None = Field(None, description="Something came back.")
    held: Count | None = Field(None, description="Still open when the step was over.")
    eof: Count | None = Field(None, description="Envoy closed it before it answered.")
    reset: Count | None = Field(None, description="It was reset.")
    silent: Count | None = Field(None, description="Nobody answered before the deadline.")

    @model_validator(mode="after")
    def _some_fact(self) -> Attempts:
        if not self.model_fields_set & set(_OUTCOMES):
            raise ValueError(f"give one of {', '.join(_OUTCOMES)}")
        return self


class AttemptsExpectation(Conditional):
    """How the clients of a `connect` step, or of the `load` of any, fared."""

    attempts: Annotated[
        Annotated[Literal["answered", "made", "refused"], Tag("|text")]
        | Annotated[Attempts, Tag("|Attempts")],
        choice(
            one_of(("answered", "made", "refused"), Attempts=_OUTCOMES),
            "`answered`, `made` or `refused`, which then all are, or {answered: 20, reset: none}",
        ),
    ] = Field(description="What all of them are, or how many are what; `during` says which step.")
