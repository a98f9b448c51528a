"""Counts of a listener's sockets and descriptors: ever, at an instant, serving, spare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.grammar import Model, choice, one_of
from envoyassert.scenario.quantity import COUNT_WORDS, RANGE_KEYS, Count, Linear, Range, is_any
from envoyassert.scenario.timing import Moment


class Tally(Model):
    """How many there are. A plain count in its place means `live`."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [kind]} for kind in ("ever", "live", "serving", "spare")],
            "dependentSchemas": {
                "live_at": {
                    "anyOf": [{"required": [kind]} for kind in ("live", "serving", "spare")]
                }
            },
            "if": {"required": ["each"], "properties": {"each": {"const": "worker"}}},
            "then": {
                "required": ["serving"],
                "not": {"anyOf": [{"required": [kind]} for kind in ("ever", "live", "spare")]},
            },
        }
    )

    ever: Count | None = Field(None, description="All that were bound to the address.")
    live: Count | None = Field(None, description="Open at the end of the phase, or at `live_at`.")
    serving: Count | None = Field(None, description="Live, and in the epoll of some thread.")
    spare: Count | None = Field(None, description="Live, and in no epoll.")
    live_at: Moment = Field(
        "end", description="The instant at which live, serving and spare ones are counted."
    )
    each: Literal["worker"] | None = Field(
        None, description="Count by itself what each worker serves (`serving`)."
    )

    @model_validator(mode="after")
    def _some_tally(self) -> Tally:
        given = self.model_fields_set & set(_TALLY_KEYS)
        if not given:
            raise ValueError("give ever, live, serving or spare")
        if "live_at" in self.model_fields_set and given == {"ever"}:
            raise ValueError("live_at says when live, serving or spare ones are counted; give one")
        if self.each == "worker" and given != {"serving"}:
            raise ValueError("each worker has what it serves; give serving and no other count")
        return self


class DescriptorTally(Tally):
    """How many descriptors there are. A plain count in its place means `live`."""

    each: Literal["socket", "worker"] | None = Field(  # type: ignore[assignment]  # one word more
        None,
        description="Count those of each socket, or those that each worker serves, by themselves.",
    )


_TALLY_KEYS = ("ever", "live", "serving", "spare")
_TALLY_WORDS = f"{COUNT_WORDS}, or counts by {', '.join(_TALLY_KEYS)}"
CountOrTally = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers", "none"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")]
    | Annotated[Tally, Tag("|Tally")],
    choice(
        one_of(("workers", "none"), Linear=("workers", "plus"), Range=RANGE_KEYS, Tally=()),
        _TALLY_WORDS,
    ),
]
"""A count of those that are live, or counts by kind."""

CountOrDescriptorTally = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers", "none"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")]
    | Annotated[DescriptorTally, Tag("|DescriptorTally")],
    choice(
        one_of(
            ("workers", "none"), Linear=("workers", "plus"), Range=RANGE_KEYS, DescriptorTally=()
        ),
        _TALLY_WORDS,
    ),
]
"""The same of descriptors."""


def any_is_right(value: Count | Tally) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the kinds of which any number is right, each with that reason."""
    reason = "any number is right"
    if isinstance(value, Range) and is_any(value):
        yield (), reason
    elif isinstance(value, Tally):
        yield from (
            ((kind,), reason)
            for kind in _TALLY_KEYS
            if kind in value.model_fields_set and is_any(getattr(value, kind))
        )
