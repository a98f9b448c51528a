"""What a scenario may say about when things happen, and how many there are then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.durations import parse_duration
from envoyassert.scenario.grammar import Duration, Model, Role, choice, one_of
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.quantity import COUNT_WORDS, RANGE_KEYS, Count, Linear, Range, is_any
from envoyassert.scenario.selector import Selector

INSTANTS = ("start", "live", "end")
Which = Literal["every", "first", "last"]
Each = Literal["socket", "worker"]


class CallMoment(CallPattern):
    """The instants at which the calls that match a pattern returned (a close: was entered)."""

    which: Which = Field(
        "every", description="Every match, or only the first or the last of them in time."
    )


class StateMoment(Model):
    """The instant at which a listener first is in a state."""

    listener: Selector = Field(description="Which listener.")
    becomes: Literal["bound", "listening", "served"] = Field(
        description="bound: one of its sockets is bound; listening: one listens (UDP: is bound); "
        "served: a thread waits for it in an epoll."
    )
    by: Role | None = Field(
        None, description="With served: `workers` means each of them; by default any thread."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "dependentSchemas": {"by": {"properties": {"becomes": {"const": "served"}}}}
        }
    )

    @model_validator(mode="after")
    def _served_by(self) -> StateMoment:
        if self.by is not None and self.becomes != "served":
            raise ValueError("by says who serves it; it goes with becomes: served")
        return self


Moment = Annotated[
    Annotated[Literal["start", "live", "end"], Tag("|text")]
    | Annotated[StateMoment, Tag("|StateMoment")]
    | Annotated[CallMoment, Tag("|CallMoment")],
    choice(
        one_of(INSTANTS, StateMoment=("becomes",), CallMoment=()),
        "`start`, `live`, `end`, a pattern {call: …}, or {listener: …, becomes: served}",
    ),
]
"""start: Envoy's exec; live: the first LIVE reply; end: of what was observed; or calls, a state."""


class Lasts(Model):
    """How long something lasts."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["at_least"]}, {"required": ["at_most"]}]}
    )

    at_least: Duration | None = Field(None, description="This long or longer.")
    at_most: Duration | None = Field(None, description="This long or shorter.")
    tolerance: Duration | None = Field(
        None, description="How far beyond either bound is still no fault."
    )

    @model_validator(mode="after")
    def _some_bound(self) -> Lasts:
        low, high = self.at_least, self.at_most
        if low is None and high is None:
            raise ValueError("give at_least or at_most")
        if low is not None and high is not None and parse_duration(low) > parse_duration(high):
            raise ValueError(f"no duration is at least {low} and at most {high}")
        return self


class State(Model):
    """A state of a listener that it has, or has not, at every instant of a stretch of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [state]} for state in ("served", "listening", "bound")],
            "dependentSchemas": {"by": {"required": ["served"]}},
        }
    )

    listener: Selector = Field(description="Which listener.")
    served: bool | None = Field(None, description="A thread waits for it in an epoll.")
    listening: bool | None = Field(None, description="One of its sockets listens (UDP: is bound).")
    bound: bool | None = Field(None, description="One of its sockets is bound and open.")
    by: Role | None = Field(
        None, description="With served: `workers` means each of them; by default any thread."
    )

    @model_validator(mode="after")
    def _one_state(self) -> State:
        given = [
            name for name in ("served", "listening", "bound") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("give one of served, listening and bound")
        if self.by is not None and given != ["served"]:
            raise ValueError("by says who serves it; it goes with served")
        return self

    @property
    def name(self) -> str:
        """`served`, `listening` or `bound`."""
        return next(n for n in ("served", "listening", "bound") if getattr(self, n) is not None)

    @property
    def wanted(self) -> bool:
        """Whether it is to have the state, or not to have it."""
        return bool(getattr(self, self.name))


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
