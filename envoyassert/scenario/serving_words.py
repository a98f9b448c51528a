"""What a scenario may say of how a listener is served, and of the file of a Unix socket."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, Tag, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import WithJsonSchema

from envoyassert.names import EPOLL_EVENTS
from envoyassert.scenario.grammar import Many, Model, choice, kind
from envoyassert.scenario.quantity import Count
from envoyassert.scenario.words import MODE_PATTERN, did_you_mean, fault

_EVENTS = tuple(EPOLL_EVENTS.values())
_SOURCES = ("created", "inherited")
_FACTS = ("unlinked_before_bind", "mode", "exists_after_exit")


class Origin(Model):
    """Where the sockets come from that are served at the end."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [source]} for source in _SOURCES]}
    )

    created: Count | None = Field(
        None, description="Those that the process which serves them made by socket()."
    )
    inherited: Count | None = Field(
        None, description="Those that it got from another process (SCM_RIGHTS, as in hot restart)."
    )

    @model_validator(mode="after")
    def _some_source(self) -> Origin:
        if self.created is None and self.inherited is None:
            raise ValueError("give created or inherited")
        return self


def _check_event(name: str) -> str:
    """Return the name of a bit, or raise with the name that was meant."""
    if name in _EVENTS:
        return name
    raise fault(
        f"`{name}` is not an event of epoll_ctl()",
        did_you_mean(name, _EVENTS) or f"these are: {', '.join(_EVENTS)}",
    )


EventMask = Annotated[
    Many[
        Annotated[
            str,
            AfterValidator(_check_event),
            WithJsonSchema({"type": "string", "enum": list(_EVENTS)}),
        ]
    ],
    Field(min_length=1),
]
"""Bits of an epoll mask by name."""


_EDGE: JsonDict = {
    "properties": {"trigger": {"const": "edge"}, "events": {"contains": {"const": "EPOLLET"}}}
}
_LEVEL: JsonDict = {
    "properties": {
        "trigger": {"const": "level"},
        "events": {"not": {"contains": {"const": "EPOLLET"}}},
    }
}


class Registered(Model):
    """How the descriptors that are served stand in the epolls."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": ["events"]}, {"required": ["trigger"]}],
            "if": {"required": ["events", "trigger"]},
            "then": {"anyOf": [_EDGE, _LEVEL]},
        }
    )

    events: EventMask | None = Field(
        None, description="The whole mask, as passed to epoll_ctl(), in any order."
    )
    trigger: Literal["level", "edge"] | None = Field(
        None, description="edge: the mask has EPOLLET; level: it has not."
    )

    @model_validator(mode="after")
    def _some_mask(self) -> Registered:
        if self.events is None and self.trigger is None:
            raise ValueError("give events or trigger")
        given = None not in (self.events, self.trigger)
        if given and ("EPOLLET" in (self.events or ())) is not (self.trigger == "edge"):
            raise ValueError("events is the whole mask, and says otherwise than trigger")
        return self


RegisteredOrMask = Annotated[
    Annotated[EventMask, Tag("|list")] | Annotated[Registered, Tag("|Registered")],
    choice(
        lambda data: "|Registered" if isinstance(data, (dict, Registered)) else kind(data),
        "a list of events, or {events: …, trigger: level or edge}",
    ),
]
"""How they stand in the epolls; a plain list is the whole mask."""


class SocketFile(Model):
    """The file of a Unix socket, as far as Envoy's own calls tell."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [fact]} for fact in _FACTS]}
    )

    unlinked_before_bind: bool | None = Field(
        None, description="Whatever was at the path was removed first; nothing there is as good."
    )
    mode: Annotated[str, Field(pattern=MODE_PATTERN)] | None = Field(
        None,
        description="Mode that chmod gave it after bind, in octal digits and quoted; `umask` if "
        "there is no chmod.",
    )
    exists_after_exit: bool | None = Field(
        None, description="Nobody in the run removed, renamed or replaced it up to its exit."
    )

    @model_validator(mode="after")
    def _some_fact(self) -> SocketFile:
        if not self.model_fields_set:
            raise ValueError(f"give {', '.join(_FACTS[:-1])} or {_FACTS[-1]}")
        return self
