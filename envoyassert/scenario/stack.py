"""Where a call came from: the functions of its stack, or a class of call sites."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import ConfigDict, Field, Tag, model_validator

from envoyassert.scenario.grammar import CallName, ErrnoName, Many, Model, Role, choice, kind
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.vocabulary import BUILD_ID_PATTERN, CALL_SITE_PATTERN, fault
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
            raise fault(
                f"no stack is recorded of `{call}`", f"stacks are recorded of {', '.join(STACKED)}"
            )
