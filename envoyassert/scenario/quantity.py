"""How many: numbers, numbers that grow with the workers, and bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.grammar import Many, Model, choice, one_of


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
                {"required": ["between"], "maxProperties": 1},
            ],
            "dependentSchemas": {"between": {"maxProperties": 1}},
        }
    )

    exactly: Quantity | None = Field(None, description="This many, no more and no fewer.")
    at_least: Quantity | None = Field(None, description="This many or more.")
    at_most: Quantity | None = Field(None, description="This many or fewer.")
    between: Many[Quantity] | None = Field(
        None, min_length=2, max_length=2, description="From the one to the other, both included."
    )

    @model_validator(mode="after")
    def _some_bound(self) -> Range:
        if not self.model_fields_set:
            raise ValueError("give exactly, at_least, at_most or between")
        if self.between is not None and len(self.model_fields_set) > 1:
            raise ValueError("between says both bounds; it leaves no room for others")
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("exactly leaves no room for at_least or at_most")
        low, high = self.between or (self.at_least, self.at_most)
        if isinstance(low, int) and isinstance(high, int) and low > high:
            raise ValueError(f"no number is at least {low} and at most {high}")
        return self


#: The forms of a count, to follow "must be".
COUNT_WORDS = (
    "a count: a number, `workers`, `none`, {workers: n, plus: m}, {at_least: n, at_most: m} or "
    "{between: [n, m]}"
)
#: The keys by which bounds are known from other mappings.
RANGE_KEYS = ("exactly", "at_least", "at_most", "between")
Count = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers", "none"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")],
    choice(one_of(("workers", "none"), Linear=("workers", "plus"), Range=()), COUNT_WORDS),
]
"""How many: exactly this many, or within bounds; `none` is 0."""


def is_none(count: Count) -> bool:
    """Return whether a count says that there is none at all."""
    if isinstance(count, Range):
        return 0 in (count.exactly, count.at_most, (count.between or (None,))[-1])
    return count in (0, "none")


def is_any(count: Count) -> bool:
    """Return whether every number of times is right."""
    if not isinstance(count, Range):
        return False
    if count.exactly is not None or count.at_most is not None:
        return False
    return _is_zero(count.at_least)


def allows_none(count: Count) -> bool:
    """Return whether none at all is right."""
    if isinstance(count, Range):
        return _is_zero(count.exactly) or (count.exactly is None and _is_zero(count.at_least))
    return count == 0


def _is_zero(quantity: Quantity | None) -> bool:
    return quantity is None or quantity == 0
