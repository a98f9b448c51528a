"""Patterns over single observed calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Tag, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from envoyassert.calls import AT_ENTRY, KERNEL_FACTS
from envoyassert.ranges import MOST_VARIABLES
from envoyassert.scenario.grammar import CallName, ErrnoName, Many, Model, Role, choice, kind
from envoyassert.scenario.quantity import Count, Range
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.vocabulary import (
    BUILD_ID_PATTERN,
    CALL_SITE_PATTERN,
    NAME_PATTERN,
    check_arguments,
    word_fault,
)
from envoyassert.symbols import STACKED

_WAYS = ("contains", "same_as", "call_site")

_Text = Annotated[str, Field(min_length=1)]
_Site = Annotated[str, Field(pattern=CALL_SITE_PATTERN)]
_BuildId = Annotated[str, Field(pattern=BUILD_ID_PATTERN)]


class CallSource(Model):
    """Calls whose call sites are meant; every given field must match."""

    call: CallName = Field(description="Name of the system call.")
    listener: Selector | None = Field(None, description="Only calls on this listener's sockets.")
    by: Role | None = Field(None, description="Only calls by these threads (any of the workers).")
    errno: ErrnoName | None = Field(None, description="Failed with this error.")
    succeeds: bool | None = Field(None, description="Only calls that succeeded, or only failed.")

    @model_validator(mode="after")
    def _recorded(self) -> CallSource:
        check_stacked((self.call,))
        return self


class StackPattern(Model):
    """From where in the code a call was made, one of three ways."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [way]} for way in _WAYS]})

    contains: (
        Annotated[
            Annotated[_Text, Tag("|text")]
            | Annotated[Many[_Text], Field(min_length=1), Tag("|list")],
            choice(kind, "a part of the name of a function, or a list of them"),
        ]
        | None
    ) = Field(
        None,
        description="Part of the name of a function on the stack; of a list, each of them. Needs "
        "symbols, and is skipped where there are none.",
    )
    same_as: CallSource | None = Field(
        None, description="From a call site from which these other calls were made as well."
    )
    call_site: (
        dict[
            _BuildId,
            Annotated[
                Annotated[_Site, Tag("|text")]
                | Annotated[Many[_Site], Field(min_length=1), Tag("|list")],
                choice(kind, "a class of call sites, or a list of them"),
            ],
        ]
        | None
    ) = Field(
        None,
        min_length=1,
        description="For each build id the class of call sites that `show` prints; skipped for an "
        "Envoy that is not listed.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> StackPattern:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if not given:
            raise ValueError("give contains, same_as or call_site")
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """What `contains` says, always as a tuple."""
        if self.contains is None:
            return ()
        return (self.contains,) if isinstance(self.contains, str) else self.contains

    def sites_of(self, build_id: str) -> tuple[str, ...]:
        """Return the classes that `call_site` lists for a build id, none if it lists it not."""
        found: Any = (self.call_site or {}).get(build_id, ())
        return (found,) if isinstance(found, str) else tuple(found)


def check_stacked(calls: Iterable[str]) -> None:
    """Raise a complaint about the first of these calls of which no stack is recorded."""
    for call in calls:
        if call not in STACKED:
            raise word_fault(
                f"no stack is recorded of `{call}`", f"stacks are recorded of {', '.join(STACKED)}"
            )


_Plain = Annotated[
    Annotated[str, Tag("|text")] | Annotated[int, Tag("|int")] | Annotated[bool, Tag("|flag")],
    choice(kind, "text, a whole number, true or false"),
]

ArgumentValue = Annotated[
    Annotated[str, Tag("|text")]
    | Annotated[int, Tag("|int")]
    | Annotated[bool, Tag("|flag")]
    | Annotated[list[_Plain], Tag("|list")]
    | Annotated[dict[str, _Plain], Tag("|mapping")],
    choice(kind, "a plain value, a list of them, or an address {host: …, port: …}"),
]
"""What an argument of a call must equal; every part that is given, of an address."""


class CallPattern(Model):
    """A pattern over single observed calls; every given field must match."""

    call: Annotated[
        Annotated[CallName, Tag("|text")]
        | Annotated[Many[CallName], Field(min_length=1), Tag("|list")],
        choice(kind, "the name of a call, or a list of names"),
    ] = Field(description="Name of the system call, or several.")
    listener: Selector | None = Field(None, description="Only calls on this listener's sockets.")
    by: Role | None = Field(None, description="Only calls by these threads (any of the workers).")
    errno: ErrnoName | None = Field(None, description="Failed with this error.")
    succeeds: bool | None = Field(None, description="Only calls that succeeded, or only failed.")
    args: dict[str, ArgumentValue] = Field(
        default_factory=dict, description="Arguments by man page name that must be equal."
    )
    stack: StackPattern | None = Field(None, description="From where in the code it was called.")

    @field_validator("args")
    @classmethod
    def _known_arguments(cls, args: dict[str, object], info: ValidationInfo) -> dict[str, object]:
        call = info.data.get("call", ())
        check_arguments((call,) if isinstance(call, str) else call, args)
        return args

    @field_validator("stack")
    @classmethod
    def _stack_is_recorded(
        cls, stack: StackPattern | None, info: ValidationInfo
    ) -> StackPattern | None:
        call = info.data.get("call", ())
        if stack is not None:
            check_stacked((call,) if isinstance(call, str) else call)
        return stack

    @property
    def calls(self) -> tuple[str, ...]:
        """The names of the calls, always as a tuple."""
        return (self.call,) if isinstance(self.call, str) else self.call


Step = Annotated[
    Annotated[CallName, Tag("|text")] | Annotated[CallPattern, Tag("|CallPattern")],
    choice(
        lambda data: "|CallPattern" if isinstance(data, (dict, CallPattern)) else kind(data),
        "the name of a call, or a pattern {call: …}",
    ),
]
"""One step of an order."""


Fact = Literal["socket", "descriptor", "thread", "port"]
Let = Annotated[
    dict[Annotated[str, Field(pattern=NAME_PATTERN)], Fact],
    Field(min_length=1, max_length=MOST_VARIABLES),
]
"""Variables: names for facts, by which expectations are joined."""

LET = (
    "Names for facts: the `socket`, `descriptor`, `thread` or `port` that this is about, or all of "
    "them. Wherever a name is given again, they must be the same."
)


class CountedPattern(CallPattern):
    """A pattern and how many calls must match it."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["each"], "properties": {"each": {"const": "socket"}}},
            "then": {"required": ["listener"]},
        }
    )

    # Constructed, not validated: to build the validator takes longer than to check a scenario.
    times: Count = Field(Range.model_construct(at_least=1), description="How many calls match.")
    each: Literal["socket", "worker"] | None = Field(
        None, description="Count those of each socket, or of each worker, by themselves."
    )
    let: Let | None = Field(None, description=LET)

    @model_validator(mode="after")
    def _whose_sockets(self) -> CountedPattern:
        if self.each == "socket" and self.listener is None:
            raise ValueError("each socket of which listener? give listener as well")
        return self


def impossible(pattern: CallPattern) -> Iterator[tuple[str, str]]:
    """Yield which field of a pattern keeps it from ever matching, and why."""
    if pattern.errno is not None and pattern.succeeds:
        yield "succeeds", f"no call both succeeds and fails with {pattern.errno}"
    calls = (pattern.call,) if isinstance(pattern.call, str) else pattern.call
    without_result = KERNEL_FACTS | AT_ENTRY
    fails = pattern.errno is not None or pattern.succeeds is False
    if fails and set(calls) <= without_result:
        part = "errno" if pattern.errno is not None else "succeeds"
        yield part, f"{' and '.join(calls)} cannot fail: no result is recorded"
