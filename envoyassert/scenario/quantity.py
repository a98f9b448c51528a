"""How many: numbers, numbers that grow with the workers, and bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.grammar import Model, choice, one_of


class Linear(Model):
    """A number that grows with the workers: `workers` × N + `plus`."""

    workers: int = Field(description="Factor of the requested concurrency.")
    plus: int = Field(0, description="Added to the product; may be negative.")


Quantity = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")],
    choice(one_of(("workers",), Linear=()), "a number, `workers` or {workers: n, plus: m}"),
]
"""A number, the number of workers, or a number that grows with the workers."""


class Range(Model):
    """A count is a number, `workers`, a number that grows with the workers, or bounds."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["exactly"], "maxProperties": 1},
                {"required": ["at_least"], "not": {"required": ["exactly"]}},
                {"required": ["at_most"], "not": {"required": ["exactly"]}},
            ]
        }
    )

    exactly: Quantity | None = Field(None, description="This many, no more and no fewer.")
    at_least: Quantity | None = Field(None, description="This many or more.")
    at_most: Quantity | None = Field(None, description="This many or fewer.")

    @model_validator(mode="after")
    def _some_bound(self) -> Range:
        if self.exactly is None and self.at_least is None and self.at_most is None:
            raise ValueError("give exactly, at_least or at_most")
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("exactly leaves no room for at_least or at_most")
        low, high = self.at_least, self.at_most
        if isinstance(low, int) and isinstance(high, int) and low > high:
            raise ValueError(f"no number is at least {low} and at most {high}")
        return self


#: The forms of a count, to follow "must be".
COUNT_WORDS = "a count: a number, `workers`, {workers: n, plus: m} or {at_least: n, at_most: m}"
Count = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")],
    choice(one_of(("workers",), Linear=("workers", "plus"), Range=()), COUNT_WORDS),
]
"""How many: exactly this many, or within bounds."""


class Tally(Model):
    """How many there are. A plain count in its place means `live`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    ever: Count | None = Field(None, description="All that were bound to the address.")
    live: Count | None = Field(None, description="Open at the end of the phase.")
    serving: Count | None = Field(None, description="Live, and in the epoll of some thread.")
    spare: Count | None = Field(None, description="Live, and in nobody's epoll.")

    @model_validator(mode="after")
    def _some_tally(self) -> Tally:
        if not self.model_fields_set:
            raise ValueError("give ever, live, serving or spare")
        return self


_TALLY_KEYS = ("ever", "live", "serving", "spare")
CountOrTally = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")]
    | Annotated[Tally, Tag("|Tally")],
    choice(
        one_of(
            ("workers",),
            Linear=("workers", "plus"),
            Range=("exactly", "at_least", "at_most"),
            Tally=(),
        ),
        f"{COUNT_WORDS}, or counts by {', '.join(_TALLY_KEYS)}",
    ),
]
"""A count of those that are live, or counts by kind."""
