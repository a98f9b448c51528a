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
from envoyassert.scenario.grammar import (
    FORM,
    Duration,
    ErrnoName,
    Many,
    Model,
    OptionName,
    Role,
    RoleOrNone,
    choice,
    kind,
    one_of,
)
from envoyassert.scenario.invariant import INVARIANTS, InvariantName
from envoyassert.scenario.option_value import ValueRule
from envoyassert.scenario.pattern import LET, CallPattern, CountedPattern, Let, Step
from envoyassert.scenario.quantity import (
    COUNT_WORDS,
    RANGE_KEYS,
    Count,
    Linear,
    Quantity,
    Range,
)
from envoyassert.scenario.selector import Protocol, Selector
from envoyassert.scenario.tally import (
    CountOrDescriptorTally,
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

Via = Literal["dup", "reuse_port", "shared_fd"]
SocketPhase = Literal[
    "before_bind", "bound", "listening", "STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING"
]


class Bound(Model):
    """Successful bind() calls to the listener's address."""

    times: Count = Field(Range(at_least=1), description="How many bind() calls succeeded.")
    by: Role | None = Field(None, description="Which threads called bind().")


class BindFailed(Model):
    """bind() calls to the listener's address that failed."""

    errno: ErrnoName | None = Field(None, description="Only this error.")
    times: Count = Field(Range(at_least=1), description="How many bind() calls failed.")
    by: Role | None = Field(None, description="Which threads called bind().")


class Listened(Model):
    """Who serves the listener, and how the sockets reach them."""

    by: Role = Field(description="Threads whose epoll holds the listener's sockets.")
    via: Via | None = Field(
        None,
        description="dup: one kernel socket, a descriptor per worker; reuse_port: a kernel socket "
        "per worker, SO_REUSEPORT before bind; shared_fd: one descriptor in every epoll.",
    )


class ListenCalls(Model):
    """listen() calls on the listener's sockets that succeeded."""

    times: Count = Field(Range(at_least=1), description="How many listen() calls succeeded.")
    by: Role | None = Field(None, description="Which threads called listen().")
    each: Literal["socket", "worker"] | None = Field(
        None, description="Count those on each socket, or by each worker, by themselves."
    )


CountOrListenCalls = Annotated[
    Annotated[int, Field(ge=0), Tag("|int")]
    | Annotated[Literal["workers", "none"], Tag("|text")]
    | Annotated[Linear, Tag("|Linear")]
    | Annotated[Range, Tag("|Range")]
    | Annotated[ListenCalls, Tag("|ListenCalls")],
    choice(
        one_of(("workers", "none"), Linear=("workers", "plus"), Range=RANGE_KEYS, ListenCalls=()),
        f"{COUNT_WORDS}, or {{times: count, by: role}}",
    ),
]
"""A count of successful listen() calls, or more about them."""


class Option(Model):
    """One socket option, on every socket of the listener."""

    value: ValueRule | None = Field(
        None,
        description="Value that was set: a number, a name, the parts of a linger or of a packet "
        "filter, or hex text for other values.",
    )
    phase: SocketPhase | None = Field(
        None, description="before_bind, bound or listening; Envoy's STATE_ names mean the same."
    )

    @property
    def wanted(self) -> int | str | dict[str, int | str]:
        """The value as `option_values.value_matches` takes it; "" if there is none."""
        if isinstance(self.value, Model):
            return self.value.model_dump(exclude_none=True)
        return "" if self.value is None else self.value


OptionRule = Annotated[
    Annotated[Literal["set", "absent"], Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[Option, Tag("|Option")],
    choice(
        one_of(("set", "absent"), Option=()), "`set`, `absent`, a number or {value: n, phase: p}"
    ),
]
"""What is expected of one option."""


class Backlog(Model):
    """The backlog of the listen() calls."""

    requested: int = Field(description="As passed to listen(); Envoy's default is -1.")


_NO_ATOMS = frozenset({"listener", "take", "when", "why"})


class ListenerExpectation(Conditional):
    """What one listener's sockets must have done."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"required": [atom]} for atom in schema["properties"] if atom not in _NO_ATOMS]
        )
    )

    listener: Selector = Field(description="Which listener.")
    take: Literal["each_address", "total"] | None = Field(
        None,
        description="A listener with several addresses: each address by itself, or the sockets of "
        "all of them together.",
    )
    let: Let | None = Field(None, description=LET)
    bound: Bound | None = Field(None, description="Successful bind() calls.")
    bind_failed: BindFailed | None = Field(None, description="Failed bind() calls.")
    listened: Listened | None = Field(None, description="Who serves it, and how.")
    served_by: RoleOrNone | None = Field(
        None, description="Threads that have one of the listener's sockets in their epoll."
    )
    listen_by: RoleOrNone | None = Field(
        None, description="Threads that called listen() on the listener's sockets."
    )
    via: Via | None = Field(None, description="How the serving descriptors relate.")
    sockets: CountOrTally | None = Field(None, description="Kernel sockets.")
    descriptors: CountOrDescriptorTally | None = Field(
        None, description="Descriptors of these sockets."
    )
    listen_calls: CountOrListenCalls | None = Field(
        None, description="Successful listen() calls; a plain count in its place means `times`."
    )
    options: dict[OptionName, OptionRule] | None = Field(
        None,
        min_length=1,
        description="Socket options by name (SO_REUSEPORT) or level/number (1/15).",
    )
    backlog: (
        Annotated[
            Annotated[int, Tag("|int")] | Annotated[Backlog, Tag("|Backlog")],
            choice(one_of(Backlog=()), "a number or {requested: n}"),
        ]
        | None
    ) = Field(None, description="Backlog that listen() was called with.")
    in_order: Many[Step] | None = Field(
        None,
        min_length=2,
        description="On each of its sockets these calls come in this order.",
    )

    @model_validator(mode="after")
    def _some_atom(self) -> ListenerExpectation:
        if not self.model_fields_set - _NO_ATOMS:
            raise ValueError("nothing is expected of the listener; add bound, listened, options …")
        return self


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
    live: bool | None = Field(None, description="/ready said LIVE before the deadline.")
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


class OthersAllowed(Model):
    """Which sockets that the scenario does not name are no surprise."""

    allow: Many[Literal["hot_restart", "admin"]] = Field(
        ("hot_restart",),
        description="hot_restart: Envoy's own Unix datagram sockets; admin: the admin endpoint.",
    )


class NoOthersExpectation(Conditional):
    """No listening socket and no bound datagram socket but those that the scenario names."""

    no_others: Annotated[
        Annotated[Literal[True], Tag("|flag")] | Annotated[OthersAllowed, Tag("|OthersAllowed")],
        choice(one_of(OthersAllowed=()), "true or {allow: [hot_restart, admin]}"),
    ] = Field(description="true, or which sockets are no surprise.")


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
    | Annotated[CallsExpectation, Tag("|CallsExpectation")],
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
    "OthersAllowed",
    "Process",
    "ProcessExpectation",
    "Protocol",
    "Quantity",
    "Range",
    "Role",
    "Scalar",
    "ScalarOrMany",
    "Selector",
    "SocketPhase",
    "StartupExpectation",
    "Step",
    "Tally",
    "Via",
    "subject_of",
]
