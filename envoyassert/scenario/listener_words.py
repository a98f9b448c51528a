"""What a scenario may say of one listener: the words of a `listener` expectation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.ranges import MOST_IN_ORDER
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.connection_words import Connections
from envoyassert.scenario.grammar import (
    ErrnoName,
    Many,
    Model,
    OptionName,
    Role,
    RoleOrNone,
    choice,
    one_of,
)
from envoyassert.scenario.option_value import OnlyOptions, ValueRule
from envoyassert.scenario.pattern import LET, Let, Step
from envoyassert.scenario.quantity import COUNT_WORDS, RANGE_KEYS, Count, Linear, Range
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.serving_words import Origin, RegisteredOrMask, SocketFile
from envoyassert.scenario.tally import CountOrDescriptorTally, CountOrTally

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


#: Stands for the limit of Envoy's network namespace, whatever it is on the machine.
SOMAXCONN = "somaxconn"


class Backlog(Model):
    """With which backlog its sockets listen, and what the kernel made of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [number]} for number in ("requested", "effective")]
        }
    )

    requested: int | None = Field(
        None,
        description="What listen() was last called with on each of its sockets; Envoy's default "
        "is -1.",
    )
    effective: (
        Annotated[
            Annotated[Literal["somaxconn"], Tag("|text")] | Annotated[int, Tag("|int")],
            choice(one_of((SOMAXCONN,)), "a number or `somaxconn`"),
        ]
        | None
    ) = Field(
        None,
        description="How many connections may wait, as the kernel shows at the end: what was "
        "requested, but no more than net.core.somaxconn, which a negative number stands for.",
    )

    @model_validator(mode="after")
    def _some_number(self) -> Backlog:
        if self.requested is None and self.effective is None:
            raise ValueError("give requested or effective")
        return self


#: Ways to say which listener is meant that mean none with a path.
_PATHLESS = ("port", "abstract")
_NO_ATOMS = frozenset({"known_defect", "listener", "take", "when", "why"})


class ListenerExpectation(Conditional):
    """What one listener's sockets must have done."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            anyOf=[{"required": [atom]} for atom in schema["properties"] if atom not in _NO_ATOMS],
            dependentSchemas={
                "socket_file": {
                    "properties": {
                        "listener": {"not": {"anyOf": [{"required": [w]} for w in _PATHLESS]}}
                    }
                },
                "listed_without_socket": {
                    "properties": {"listener": {"not": {"required": ["socket"]}}}
                },
            },
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
    origin: Origin | None = Field(None, description="Where the sockets that are served come from.")
    registered: RegisteredOrMask | None = Field(
        None, description="How they stand in the epolls of the threads that serve them."
    )
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
    only_options: OnlyOptions | None = Field(
        None, description="All options that are set on each of its sockets; `{}` for none at all."
    )
    backlog: (
        Annotated[
            Annotated[int, Tag("|int")] | Annotated[Backlog, Tag("|Backlog")],
            choice(one_of(Backlog=()), "a number or {requested: n, effective: n}"),
        ]
        | None
    ) = Field(
        None, description="Backlog that listen() was last called with on each of its sockets."
    )
    reachable_by_address: bool | None = Field(
        None,
        description="Whether whoever connects to its address reaches one of its sockets, and "
        "nobody else's: no other socket took the path of a Unix socket, shares the port, or is "
        "preferred by the kernel (an IPv4 socket beside a v4-mapped one, an address beside a "
        "wildcard, a device), and nobody removed, renamed or replaced the file. Of a wildcard each "
        "address that it covers counts.",
    )
    listed_without_socket: bool | None = Field(
        None,
        description="Whether Envoy's admin endpoint lists its address though no kernel socket is "
        "there, at the end of the phase. Where it is stated to be so, that difference between "
        "Envoy's account and the trace is expected from then on: it takes no PASS from other "
        "expectations.",
    )
    connections: Connections | None = Field(
        None, description="Connections that were accepted on its sockets."
    )
    socket_file: SocketFile | None = Field(
        None, description="The file of a Unix socket; the selector gives its path or its name."
    )
    in_order: Many[Step] | None = Field(
        None,
        min_length=2,
        max_length=MOST_IN_ORDER,
        description="On each of its sockets these calls come in this order.",
    )

    @model_validator(mode="after")
    def _some_atom(self) -> ListenerExpectation:
        if not self.model_fields_set - _NO_ATOMS:
            raise ValueError("nothing is expected of the listener; add bound, listened, options …")
        pathless = [way for way in _PATHLESS if getattr(self.listener, way) is not None]
        if self.socket_file is not None and pathless:
            raise ValueError("socket_file is about a listener with a path, not a port or a name")
        if self.listed_without_socket is not None and self.listener.socket is not None:
            raise ValueError(
                "listed_without_socket is about an address; give the listener's name or port"
            )
        return self
