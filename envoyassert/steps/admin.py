"""Steps that ask the admin endpoint to change what Envoy does with its clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from envoyassert.steps.base import Part
from envoyassert.steps.load import StepUnderLoad


class Drain(Part):
    """How to drain."""

    heading: ClassVar[str] = "`drain`"
    examples: ClassVar[Mapping[str, str]] = {
        "inbound_only": "inbound_only: true",
        "graceful": "graceful: true",
        "skip_exit": "graceful: true, skip_exit: true",
    }

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
    """POST /drain_listeners; over once it is answered and no thread of Envoy has work left.

    With `graceful` the sockets are closed when the drain time is over: wait for it, as in
    `wait_for: {state: {listener: {port: 15006}, bound: false}}`.
    """

    kind: ClassVar[str] = "drain"
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "drain": "drain: {graceful: true}",
    }

    drain: Drain = Field(description="How; {} closes all listeners at once.")


class HealthcheckStep(StepUnderLoad):
    """POST /healthcheck/fail or /healthcheck/ok; over as soon as it is answered."""

    kind: ClassVar[str] = "healthcheck"
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "healthcheck": "healthcheck: fail",
    }

    healthcheck: Literal["fail", "ok"] = Field(description="What Envoy's health check should say.")
