"""Order, durations and intervals: what a scenario may say about when things happen."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.durations import parse_duration
from envoyassert.ranges import MOST_IN_ORDER
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Duration, Many, Model, Role, choice, kind
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.selector import Selector

INSTANTS = ("start", "live", "end")
#: The parts of a start.
FIGURES = ("first_listen", "bind_to_listen", "listen_to_served", "served_to_live")
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


def _moment_form(data: Any) -> str | None:
    if isinstance(data, str):
        return "|text" if data in INSTANTS else None
    if isinstance(data, dict):
        return "|StateMoment" if "becomes" in data else "|CallMoment"
    return kind(data)


Moment = Annotated[
    Annotated[Literal["start", "live", "end"], Tag("|text")]
    | Annotated[StateMoment, Tag("|StateMoment")]
    | Annotated[CallMoment, Tag("|CallMoment")],
    choice(
        _moment_form,
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


class InOrderExpectation(Conditional):
    """Every instant of a step precedes every instant of the next step."""

    in_order: Many[Moment] = Field(min_length=2, max_length=MOST_IN_ORDER, description="The steps.")


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


class BetweenExpectation(Conditional):
    """How long it takes from one instant to another; every pair of them, the first before."""

    between: Many[Moment] = Field(
        min_length=2, max_length=2, description="From when, and until when."
    )
    lasts: Lasts = Field(description="How long.")
    each: Each | None = Field(
        None, description="Among the calls of each socket, or of each worker, by itself."
    )


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


class AlwaysExpectation(Conditional):
    """A listener has a state, or has it not, from one instant to another without a break."""

    always: State = Field(description="Which listener, and which state.")
    since: Moment | None = Field(
        None, description="From when; by default from when it first has the state that is wanted."
    )
    until: Moment = Field("end", description="Until when.")
    except_for: Duration | None = Field(
        None, description="All breaks together may last this long; by default there is none."
    )


class Startup(Model):
    """How long the parts of a start take; of several sockets the slowest counts."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [figure]} for figure in FIGURES]}
    )

    listener: Selector | None = Field(
        None, description="Only this listener; by default all but the admin endpoint."
    )
    first_listen: Lasts | None = Field(
        None, description="From Envoy's exec until the first socket listens."
    )
    bind_to_listen: Lasts | None = Field(None, description="From bind until the socket listens.")
    listen_to_served: Lasts | None = Field(
        None, description="From when a socket listens until a thread waits for it in an epoll."
    )
    served_to_live: Lasts | None = Field(
        None,
        description="From when the last socket is served until the first LIVE reply. LIVE may come "
        "first: only `at_least` forbids it.",
    )

    @model_validator(mode="after")
    def _some_figure(self) -> Startup:
        if not self.model_fields_set & set(FIGURES):
            raise ValueError(f"give one of {', '.join(FIGURES)}")
        return self


class StartupExpectation(Conditional):
    """How long Envoy takes to start."""

    startup: Startup = Field(description="The parts of the start, each with its budget.")


__all__ = [
    "FIGURES",
    "INSTANTS",
    "AlwaysExpectation",
    "BetweenExpectation",
    "CallMoment",
    "Each",
    "InOrderExpectation",
    "Lasts",
    "Moment",
    "MomentExpectation",
    "Startup",
    "StartupExpectation",
    "State",
    "StateMoment",
]
