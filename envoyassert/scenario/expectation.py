"""The expectation language as data: what a scenario may say under `expect`.

Every class here is one word or one group of words of the language; the JSON Schema and the
reference documentation are generated from these classes, so a docstring or a `description` here
is what a writer reads in the editor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from envoyassert.scenario.conditional import Conditional, Scalar, ScalarOrMany
from envoyassert.scenario.connection_words import Attempts, AttemptsExpectation
from envoyassert.scenario.grammar import (
    FORM,
    Duration,
    Many,
    Model,
    Role,
    choice,
    kind,
    one_of,
)
from envoyassert.scenario.invariant import INVARIANTS, InvariantName
from envoyassert.scenario.listener_words import (
    Backlog,
    BindFailed,
    Bound,
    ListenCalls,
    Listened,
    ListenerExpectation,
    Option,
    OptionRule,
    SocketPhase,
    Via,
)
from envoyassert.scenario.pattern import CallPattern, CountedPattern, Step
from envoyassert.scenario.quantity import (
    Count,
    Linear,
    Quantity,
    Range,
    is_none,
)
from envoyassert.scenario.selector import Protocol, Selector
from envoyassert.scenario.serving_words import Origin, Registered, SocketFile
from envoyassert.scenario.tally import (
    CountOrTally,
    DescriptorTally,
    Tally,
)
from envoyassert.scenario.timing import (
    AlwaysExpectation,
    BetweenExpectation,
    InOrderExpectation,
    MomentExpectation,
    StartupExpectation,
)
from envoyassert.scenario.update_words import UpdateExpectation


class Process(Model):
    """What became of the Envoy process."""

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
    """What became of the Envoy process."""

    process: Process = Field(description="Exit status, being up, being ready.")


class NeverExpectation(Conditional):
    """No call matches."""

    never: CallPattern = Field(description="Which call.")

    @property
    def says_none(self) -> bool:
        """It does."""
        return True


class OthersAllowed(Model):
    """Which sockets that the scenario does not name are no surprise."""

    allow: Many[Literal["hot_restart", "admin"]] = Field(
        ("hot_restart",),
        description="hot_restart: Envoy's own Unix datagram sockets; admin: the admin endpoint.",
    )


class NoOthersExpectation(Conditional):
    """No socket that listens or is bound but those that the scenario names; no raw or packet one.

    Left out are clients: what is bound and connects, and netlink.
    """

    no_others: Annotated[
        Annotated[Literal[True], Tag("|flag")] | Annotated[OthersAllowed, Tag("|OthersAllowed")],
        choice(one_of(OthersAllowed=()), "true or {allow: [hot_restart, admin]}"),
    ] = Field(description="true, or which sockets are no surprise.")

    @property
    def says_none(self) -> bool:
        """It does."""
        return True


class InvariantsExpectation(Conditional):
    """What holds for every sound Envoy, whatever its config; [their list](#invariants)."""

    invariants: Annotated[
        Annotated[Literal["all"], Tag("|text")]
        | Annotated[Many[InvariantName], Field(min_length=1), Tag("|list")],
        choice(one_of(("all",)), "`all`, or a list of names of invariants"),
    ] = Field(description="all, or which of them.")

    @property
    def names(self) -> tuple[str, ...]:
        """The invariants that are meant, in the order of the list."""
        return tuple(INVARIANTS) if self.invariants == "all" else tuple(self.invariants)


class CallsExpectation(Conditional):
    """How many observed calls match a pattern."""

    calls: CountedPattern = Field(description="Which calls, and how many.")

    @property
    def says_none(self) -> bool:
        """Whether there must be no such call."""
        return is_none(self.calls.times)


_FORMS: dict[str, type[Conditional]] = {
    "listener": ListenerExpectation,
    "process": ProcessExpectation,
    "in_order": InOrderExpectation,
    "moment": MomentExpectation,
    "between": BetweenExpectation,
    "always": AlwaysExpectation,
    "startup": StartupExpectation,
    "never": NeverExpectation,
    "no_others": NoOthersExpectation,
    "invariants": InvariantsExpectation,
    "calls": CallsExpectation,
    "attempts": AttemptsExpectation,
    "update": UpdateExpectation,
}
#: The keys of which an item of `expect` has one, which says what it is about.
SUBJECTS = tuple(_FORMS)


def subject_of(data: Any) -> str | None:
    """Return the key that says what an item of `expect` is about, or None if it has none."""
    if isinstance(data, Conditional):
        data = data.model_fields_set
    if not hasattr(data, "__contains__"):
        return None
    return next((subject for subject in SUBJECTS if subject in data), None)


def _expectation_form(data: Any) -> str | None:
    if isinstance(data, Conditional):
        return kind(data)
    subject = subject_of(data) if isinstance(data, dict) else None
    return None if subject is None else FORM + _FORMS[subject].__name__


Expectation = Annotated[
    Annotated[ListenerExpectation, Tag("|ListenerExpectation")]
    | Annotated[ProcessExpectation, Tag("|ProcessExpectation")]
    | Annotated[InOrderExpectation, Tag("|InOrderExpectation")]
    | Annotated[MomentExpectation, Tag("|MomentExpectation")]
    | Annotated[BetweenExpectation, Tag("|BetweenExpectation")]
    | Annotated[AlwaysExpectation, Tag("|AlwaysExpectation")]
    | Annotated[StartupExpectation, Tag("|StartupExpectation")]
    | Annotated[NeverExpectation, Tag("|NeverExpectation")]
    | Annotated[NoOthersExpectation, Tag("|NoOthersExpectation")]
    | Annotated[InvariantsExpectation, Tag("|InvariantsExpectation")]
    | Annotated[CallsExpectation, Tag("|CallsExpectation")]
    | Annotated[AttemptsExpectation, Tag("|AttemptsExpectation")]
    | Annotated[UpdateExpectation, Tag("|UpdateExpectation")],
    Discriminator(
        _expectation_form,
        custom_error_type="no_subject",
        custom_error_message="an expectation is about one of: " + ", ".join(SUBJECTS),
    ),
]
"""One item of `expect`."""

__all__ = [
    "SUBJECTS",
    "AlwaysExpectation",
    "Attempts",
    "AttemptsExpectation",
    "Backlog",
    "BetweenExpectation",
    "BindFailed",
    "Bound",
    "CallPattern",
    "CallsExpectation",
    "Conditional",
    "Count",
    "CountOrTally",
    "CountedPattern",
    "DescriptorTally",
    "Expectation",
    "InOrderExpectation",
    "InvariantsExpectation",
    "Linear",
    "ListenCalls",
    "Listened",
    "ListenerExpectation",
    "Model",
    "MomentExpectation",
    "NeverExpectation",
    "NoOthersExpectation",
    "Option",
    "OptionRule",
    "Origin",
    "OthersAllowed",
    "Process",
    "ProcessExpectation",
    "Protocol",
    "Quantity",
    "Range",
    "Registered",
    "Role",
    "Scalar",
    "ScalarOrMany",
    "Selector",
    "SocketFile",
    "SocketPhase",
    "StartupExpectation",
    "Step",
    "Tally",
    "UpdateExpectation",
    "Via",
    "subject_of",
]
