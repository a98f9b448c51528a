"""`registered`: how the listener's descriptors stand in the epolls of those that serve it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, Tag, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import WithJsonSchema

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.names import EPOLL_EVENTS
from envoyassert.scenario.grammar import Many, Model, choice, kind
from envoyassert.scenario.vocabulary import did_you_mean, word_fault
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.graph.model import Registration
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding

_EVENTS = tuple(EPOLL_EVENTS.values())


def _check_event(name: str) -> str:
    """Return the name of a bit, or raise with the name that was meant."""
    if name in _EVENTS:
        return name
    raise word_fault(
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


def judge_registered(
    target: Target, word: str, value: Registered | tuple[str, ...]
) -> Iterator[Finding]:
    """Judge the masks of the registrations through which a listener is served."""
    from envoyassert.judge.context import EPOLL_UNOBSERVED
    from envoyassert.state import is_state

    context, mask = target.context, value
    if isinstance(mask, tuple):
        mask = Registered(events=mask)
    found = [
        registration
        for socket in target.sockets
        if socket.is_open_to_clients
        for registration in socket.live_registrations()
        if registration.wakes
    ]
    for part, expected in (("events", mask.events), ("trigger", mask.trigger)):
        if expected is None:
            continue
        state = is_state(context.trace.header.unobserved)
        wrong = [entry for entry in found if not _has(entry, part, expected, state=state)]
        sure = any(e.certain and e.descriptor.tainted_ns is None for e in wrong)
        if context.by_listen:
            status = Status.INCONCLUSIVE
        elif sure or (not context.doubt and (wrong or not found)):
            status = Status.FAIL
        else:
            status = Status.INCONCLUSIVE if context.doubt else Status.PASS
        subject = target.subject.at(word, *(() if isinstance(value, tuple) else (part,)))
        masks = tuple(dict.fromkeys(tuple(entry.events) for entry in found))
        asked = (expected,) if isinstance(expected, str) else tuple(expected)
        yield context.finding(
            subject,
            status,
            Fact("registered", part=part, values=asked),
            Fact("registered_with", masks=masks) if masks else Fact("not_served"),
            reason=EPOLL_UNOBSERVED if context.by_listen else None,
            evidence=[entry.added.event for entry in wrong or found],
        )


def _has(entry: Registration, part: str, expected: str | tuple[str, ...], *, state: bool) -> bool:
    from envoyassert.state import ALWAYS_ASKED_FOR

    if part == "events":
        added = ALWAYS_ASKED_FOR if state else set()
        return set(entry.events) - added == set(expected) - added
    return ("EPOLLET" in entry.events) is (expected == "edge")


def _of_state(place: tuple[object, ...], _: Registered | tuple[str, ...]) -> tuple[Status, ...]:
    """The kernel adds EPOLLERR and EPOLLHUP, so whether these were passed is not known."""
    return (Status.PASS, Status.FAIL) if place == ("trigger",) else (Status.FAIL,)


WORD = ListenerWord(
    name="registered",
    form=RegisteredOrMask,
    description="How they stand in the epolls of the threads that serve them.",
    judge=judge_registered,
    example=Example("registered: [EPOLLIN]", "level", "edge"),
    also_called=("epoll", "epoll_ctl"),
    parts=(
        Part(
            Registered,
            "`registered`",
            "[{listener: {port: 15006}, registered: {%}}]",
            {
                "events": Example("events: [EPOLLIN, EPOLLOUT, EPOLLET]", "edge", "level"),
                "trigger": Example("trigger: level", "level", "edge"),
            },
        ),
    ),
    of_state=_of_state,
)
