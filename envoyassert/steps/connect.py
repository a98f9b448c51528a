"""Steps that send clients: new ones, and those that are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from envoyassert.scenario.conditional import PhaseName
from envoyassert.scenario.selector import Selector
from envoyassert.steps.base import Part, Path, Step


class Connect(Part):
    """Clients of a listener, one after the other; each tries once."""

    heading: ClassVar[str] = "`connect`"
    examples: ClassVar[Mapping[str, str]] = {
        "listener": "listener: {port: 15006}",
        "times": "listener: {port: 15006}, times: 20",
        "held": "listener: {port: 15006}, held: true",
        "send": "listener: {port: 15006}, send: hello",
    }

    listener: Selector = Field(
        description="Where to: `address` and `port`, which may be those of no listener, or a "
        "listener by `name` or `port`. Clients go there and nowhere else. A protocol or netns that "
        "is not given is that of the listeners at this address, else of those on this port. "
        "Without such a listener it is TCP in Envoy's own. A wildcard is reached by loopback."
    )
    times: int = Field(1, ge=1, le=10_000, description="How many connections (UDP: datagrams).")
    held: bool = Field(
        False, description="true: keep them open until the end of the run; false: close each."
    )
    send: str | None = Field(
        None,
        min_length=1,
        description="Send this text over each, and wait for an answer, its end or a reset.",
    )


class ConnectStep(Step):
    """Connect to a listener from inside Envoy's network namespace.

    The step is over when every connection was accepted, and answered if something was sent, or at
    its deadline: that no one accepts is a fact to be judged.
    """

    kind: ClassVar[str] = "connect"
    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "connect": "connect: {listener: {port: 15006}, times: 20}",
    }

    connect: Connect = Field(description="Where to, and how often.")

    def selectors(self) -> Iterator[tuple[Path, Selector]]:
        """Yield where the clients go."""
        yield ("connect", "listener"), self.connect.listener

    @classmethod
    def holds_clients(cls, data: Mapping[str, Any]) -> bool:
        """Whether the connections are kept open."""
        wanted = data.get("connect")
        return isinstance(wanted, dict) and wanted.get("held") is True


class Talk(Part):
    """Clients that are connected already; each sends once."""

    heading: ClassVar[str] = "`talk`"
    examples: ClassVar[Mapping[str, str]] = {
        "over": "over: held, send: hello",
        "send": "over: held, send: hello",
        "batch": "over: held, send: hello, batch: 4",
    }

    over: PhaseName = Field(
        description="Over the connections that this step before made, with `held: true`."
    )
    send: str = Field(
        min_length=1, description="Send this text over each, and wait for an answer or its end."
    )
    batch: int = Field(
        1,
        ge=1,
        le=64,
        description="UDP: send it so often at once, which the kernel cuts into datagrams "
        "(UDP_SEGMENT), as clients of QUIC do. Answered is who had an answer to each.",
    )


class TalkStep(Step):
    """Send over connections that are held: whether they live on is what `attempts` shows."""

    kind: ClassVar[str] = "talk"
    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "talk": "talk: {over: held, send: hello}",
    }

    talk: Talk = Field(description="Over which, and what.")

    @classmethod
    def uses_clients_of(cls, data: Mapping[str, Any]) -> tuple[Path, str] | None:
        """Return over whose connections it sends."""
        wanted = data.get("talk")
        over = wanted.get("over") if isinstance(wanted, dict) else None
        return (("talk", "over"), over) if isinstance(over, str) else None
