"""Steps that send clients to a listener, or send them away."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from envoyassert.scenario.conditional import PhaseName
from envoyassert.scenario.grammar import Model
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.steps.load import StepUnderLoad


class Connect(Model):
    """Clients of a listener, one after the other; each tries once."""

    listener: Selector = Field(
        description="Where to: `address` and `port`, which may be those of no listener, or a "
        "listener by `name` or `port`. Clients go there and nowhere else. A protocol or netns that "
        "is not given is that of the listeners at this address, else of those on this port, else "
        "TCP in Envoy's own. A wildcard is reached by loopback."
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
    its deadline: that nobody accepts is a fact to be judged.
    """

    connect: Connect = Field(description="Where to, and how often.")


class Talk(Model):
    """Clients that are connected already; each sends once."""

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
        "(UDP_SEGMENT), as clients of QUIC do; answered is who had an answer to each.",
    )


class TalkStep(Step):
    """Send over connections that are held: whether they live on is what `attempts` tells."""

    talk: Talk = Field(description="Over which, and what.")


class Drain(Model):
    """How to drain."""

    inbound_only: bool = Field(
        False, description="Only listeners whose traffic_direction is INBOUND."
    )
    graceful: bool = Field(
        False, description="Drain for --drain-time-s before the listeners are closed."
    )
    skip_exit: bool = Field(
        False,
        description="Drain the connections, but keep the listeners. Without graceful it is known "
        "from Envoy 1.40 on.",
    )

    @property
    def query(self) -> str:
        """The query string of /drain_listeners."""
        given = [
            name
            for name, wanted in (
                ("graceful", self.graceful),
                ("inboundonly", self.inbound_only),
                ("skip_exit", self.skip_exit),
            )
            if wanted
        ]
        return "?" + "&".join(given) if given else ""


class DrainStep(StepUnderLoad):
    """POST /drain_listeners; over as soon as it is answered.

    Workers and main close the sockets after that: wait for it, as in
    `wait_for: {state: {listener: {port: 15006}, bound: false}}`.
    """

    drain: Drain = Field(description="How; {} closes all listeners at once.")


class HealthcheckStep(StepUnderLoad):
    """POST /healthcheck/fail or /healthcheck/ok; over as soon as it is answered."""

    healthcheck: Literal["fail", "ok"] = Field(description="What Envoy's health check shall say.")
