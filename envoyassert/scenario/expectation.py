"""The expectation language as data: what a scenario may say under `expect`.

Every class here is one word or one group of words of the language; the JSON Schema and the
reference documentation are generated from these classes, so a docstring or a `description` here
is what a writer reads in the editor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Role = Annotated[str, Field(pattern=r"^(main|workers|other|worker_[0-9]+)$")]
"""`main`, `workers` (each worker and nobody else), `worker_<i>`, or `other`."""

Via = Literal["dup", "reuse_port", "shared_fd"]
Protocol = Literal["TCP", "UDP", "MPTCP", "UNIX"]
SocketPhase = Literal[
    "before_bind", "bound", "listening", "STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING"
]


class Model(BaseModel):
    """Base: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Linear(Model):
    """A number that grows with the workers: `workers` × N + `plus`."""

    workers: int = Field(description="Factor of the requested concurrency.")
    plus: int = Field(0, description="Added to the product; may be negative.")


Quantity = Annotated[int, Field(strict=True, ge=0)] | Literal["workers"] | Linear


class Range(Model):
    """A count with bounds."""

    exactly: Quantity | None = Field(None, description="This many, no more and no fewer.")
    at_least: Quantity | None = Field(None, description="This many or more.")
    at_most: Quantity | None = Field(None, description="This many or fewer.")

    @model_validator(mode="after")
    def _some_bound(self) -> Range:
        if self.exactly is None and self.at_least is None and self.at_most is None:
            raise ValueError("give exactly, at_least or at_most")
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("exactly leaves no room for at_least or at_most")
        return self


Count = Quantity | Range


class Selector(Model):
    """Which listener is meant: by its name in the config, or by its address."""

    name: str | None = Field(None, description="Name in the Envoy config; `admin` for the admin.")
    address: str | None = Field(None, description="IP address; a wildcard matches a wildcard only.")
    port: int | None = Field(None, ge=1, le=65535, strict=True, description="Port that was bound.")
    protocol: Protocol | None = Field(None, description="Needed where TCP and UDP share a port.")
    path: str | None = Field(None, description="Path of a Unix socket; ${rundir} is replaced.")
    abstract: str | None = Field(None, description="Abstract Unix name without the leading `@`.")

    @model_validator(mode="after")
    def _some_field(self) -> Selector:
        if all(
            value is None
            for value in (self.name, self.port, self.path, self.abstract)
        ):
            raise ValueError("give name, port, path or abstract")
        return self

    def __str__(self) -> str:
        given = self.model_dump(exclude_none=True)
        if set(given) == {"port"}:
            return f"port {self.port}"
        if set(given) == {"name"}:
            return f"listener {self.name}"
        return ", ".join(f"{key} {value}" for key, value in given.items())


class Bound(Model):
    """Successful bind() calls to the listener's address."""

    times: Count = Field(Range(at_least=1), description="How many bind() calls succeeded.")
    by: Role | None = Field(None, description="Which threads called bind().")


class BindFailed(Model):
    """bind() calls to the listener's address that failed."""

    errno: str | None = Field(None, pattern=r"^E[A-Z0-9]+$", description="Only this error.")
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


class Tally(Model):
    """How many there are. A plain count in its place means `live`."""

    ever: Count | None = Field(None, description="All that were bound to the address.")
    live: Count | None = Field(None, description="Open at the end of the phase.")
    serving: Count | None = Field(None, description="Live, and in the epoll of some thread.")
    spare: Count | None = Field(None, description="Live, and in nobody's epoll.")

    @model_validator(mode="after")
    def _some_tally(self) -> Tally:
        if not self.model_fields_set:
            raise ValueError("give ever, live, serving or spare")
        return self


class Option(Model):
    """One socket option, on every socket of the listener."""

    value: int | str | None = Field(
        None, description="Value that was set: a number, or hex text for longer values."
    )
    phase: SocketPhase | None = Field(
        None, description="before_bind, bound or listening; Envoy's STATE_ names mean the same."
    )


OptionRule = Literal["set", "absent"] | Annotated[int, Field(strict=True)] | Option


class Backlog(Model):
    """The backlog of the listen() calls."""

    requested: int = Field(strict=True, description="As passed to listen(); Envoy's default is -1.")


class CallPattern(Model):
    """A pattern over single observed calls; every given field must match."""

    call: str | tuple[str, ...] = Field(description="Name of the system call, or several.")
    listener: Selector | None = Field(None, description="Only calls on this listener's sockets.")
    by: Role | None = Field(None, description="Only calls by these threads (any of the workers).")
    errno: str | None = Field(None, pattern=r"^E[A-Z0-9]+$", description="Failed with this error.")
    succeeds: bool | None = Field(None, description="Only calls that succeeded, or only failed.")
    args: dict[str, Any] = Field(
        default_factory=dict, description="Arguments by man page name that must be equal."
    )

    @property
    def calls(self) -> tuple[str, ...]:
        """The names of the calls, always as a tuple."""
        return (self.call,) if isinstance(self.call, str) else self.call


class CountedPattern(CallPattern):
    """A pattern and how many calls must match it."""

    times: Count = Field(Range(at_least=1), description="How many calls match.")


class Conditional(Model):
    """What every expectation may carry."""

    when: dict[str, Any] = Field(
        default_factory=dict,
        description="Judge only in runs whose matrix values equal these: a value or a list.",
    )
    why: str | None = Field(None, description="Why this matters; shown when it is not met.")


class ListenerExpectation(Conditional):
    """What one listener's sockets must have done."""

    listener: Selector
    bound: Bound | None = None
    bind_failed: BindFailed | None = None
    listened: Listened | None = None
    served_by: Role | Literal["none"] | None = Field(
        None, description="Threads that have one of the listener's sockets in their epoll."
    )
    listen_by: Role | Literal["none"] | None = Field(
        None, description="Threads that called listen() on the listener's sockets."
    )
    via: Via | None = Field(None, description="How the serving descriptors relate.")
    sockets: Count | Tally | None = Field(None, description="Kernel sockets.")
    descriptors: Count | Tally | None = Field(None, description="Descriptors of these sockets.")
    listen_calls: Count | ListenCalls | None = None
    options: dict[str, OptionRule] | None = Field(
        None, description="Socket options by name (SO_REUSEPORT) or as level/number (1/15)."
    )
    backlog: Annotated[int, Field(strict=True)] | Backlog | None = None
    in_order: tuple[str | CallPattern, ...] | None = Field(
        None, description="On each of the listener's sockets these calls come in this order."
    )

    @model_validator(mode="after")
    def _some_atom(self) -> ListenerExpectation:
        if not self.model_fields_set - {"listener", "when", "why"}:
            raise ValueError("expects nothing of the listener; add bound, listened, options …")
        return self


class Process(Model):
    """What became of the Envoy process."""

    exits: int | Literal["nonzero"] | None = Field(None, description="Its exit status.")
    stays_up: bool | None = Field(None, description="Running at the end of the phase.")
    live: bool | None = Field(None, description="/ready said LIVE before the deadline.")
    within: float | str | None = Field(None, description="…and within this time (5s, 100ms).")

    @model_validator(mode="after")
    def _some_fact(self) -> Process:
        if self.exits is None and self.stays_up is None and self.live is None:
            raise ValueError("give exits, stays_up or live")
        return self


class ProcessExpectation(Conditional):
    """What became of the Envoy process."""

    process: Process


class InOrderExpectation(Conditional):
    """Every call that matches a step precedes every call that matches the next step."""

    in_order: tuple[CallPattern, ...] = Field(min_length=2)


class NeverExpectation(Conditional):
    """No call matches."""

    never: CallPattern


class OthersAllowed(Model):
    """Which sockets that the scenario does not name are no surprise."""

    allow: tuple[Literal["hot_restart", "admin"], ...] = ("hot_restart",)


class NoOthersExpectation(Conditional):
    """No listening socket and no bound datagram socket but those that the scenario names."""

    no_others: Literal[True] | OthersAllowed


class CallsExpectation(Conditional):
    """How many observed calls match a pattern."""

    calls: CountedPattern


SUBJECTS = ("listener", "process", "in_order", "never", "no_others", "calls")


def subject_of(data: Any) -> str | None:
    """Return the key that says what an item of `expect` is about, or None if it has none."""
    if isinstance(data, Conditional):
        data = data.model_fields_set
    if not hasattr(data, "__contains__"):
        return None
    return next((subject for subject in SUBJECTS if subject in data), None)


Expectation = Annotated[
    Annotated[ListenerExpectation, Tag("listener")]
    | Annotated[ProcessExpectation, Tag("process")]
    | Annotated[InOrderExpectation, Tag("in_order")]
    | Annotated[NeverExpectation, Tag("never")]
    | Annotated[NoOthersExpectation, Tag("no_others")]
    | Annotated[CallsExpectation, Tag("calls")],
    Discriminator(
        subject_of,
        custom_error_type="no_subject",
        custom_error_message="an expectation is about one of: " + ", ".join(SUBJECTS),
    ),
]
