"""What every expectation has: when it applies, and why it matters."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Tag

from envoyassert.scenario.grammar import Many, Model, choice, kind

Scalar = Annotated[
    Annotated[str, Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[float, Tag("|real")]
    | Annotated[bool, Tag("|flag")],
    choice(kind, "text, a number, true or false"),
]
"""A plain value."""

ScalarOrMany = Annotated[
    Annotated[str, Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[float, Tag("|real")]
    | Annotated[bool, Tag("|flag")]
    | Annotated[Many[Scalar], Field(min_length=1), Tag("|list")],
    choice(kind, "a plain value, or a list of plain values"),
]
"""A plain value, or several of which one must hold."""


class Conditional(Model):
    """What every expectation may carry."""

    when: dict[str, ScalarOrMany] = Field(
        default_factory=dict,
        description="Judge only in runs whose matrix values equal these: a value or a list.",
    )
    why: str | None = Field(None, description="Why this matters; shown when it is not met.")
