"""Clients that keep coming while a step is carried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import Field, Tag

from envoyassert.scenario.grammar import Duration, Many, choice, one_of
from envoyassert.scenario.selector import Selector
from envoyassert.steps.base import Part, Path, Step


class Load(Part):
    """Clients that connect, send, wait for an answer and close, again and again; no retries.

    The load begins before the step and goes on after it: its length is not a time, but so many
    requests of each client before the step, and after it.
    """

    heading: ClassVar[str] = "`load`"
    examples: ClassVar[Mapping[str, str]] = {
        "listener": "listener: {name: ingress}, send: hello",
        "send": 'listener: {port: 80}, send: "GET / HTTP/1.0\\r\\n\\r\\n"',
        "clients": "listener: {port: 15006}, send: hello, clients: 8",
        "per_second": "listener: {port: 15006}, send: hello, per_second: 500",
        "around": "listener: {port: 15006}, send: hello, around: 50",
        "answer_within": "listener: {port: 15006}, send: hello, answer_within: 1s",
    }

    listener: Selector = Field(
        description="Where to, as in `connect`; a listener has the address that it has before the "
        "step."
    )
    send: str = Field(min_length=1, description="The request: text that is answered somehow.")
    clients: int = Field(4, ge=1, le=64, description="How many send at the same time.")
    per_second: int = Field(
        200,
        ge=1,
        le=2_000,
        description="How many requests all clients together begin each second, at most: a client "
        "that waits for an answer begins no other.",
    )
    around: int = Field(
        10,
        ge=1,
        le=1_000,
        description="How many requests each client has made when the step begins, and begins after "
        "it is over. One that stays silent is enough.",
    )
    answer_within: Duration = Field(
        "5s", description="How long a request waits for its answer; then it is silent."
    )


class StepUnderLoad(Step):
    """A step that clients may be sent through."""

    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "load": "load: {listener: {port: 15006}, send: hello}",
    }

    load: (
        Annotated[
            Annotated[Load, Tag("|Load")]
            | Annotated[Many[Load], Field(min_length=1), Tag("|list")],
            choice(one_of(Load=("listener",)), "clients of a listener, or a list of such"),
        ]
        | None
    ) = Field(
        None,
        description="Clients that keep coming meanwhile, or a list of such, for several listeners; "
        "`attempts` has the result of each of their requests.",
    )

    @property
    def loads(self) -> tuple[Load, ...]:
        """The clients of each listener that keep coming."""
        if self.load is None:
            return ()
        return self.load if isinstance(self.load, tuple) else (self.load,)

    def selectors(self) -> Iterator[tuple[Path, Selector]]:
        """Yield where the clients go that keep coming."""
        for number, load in enumerate(self.loads):
            at = (number,) if isinstance(self.load, tuple) else ()
            yield ("load", *at, "listener"), load.listener
