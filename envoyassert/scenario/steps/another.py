"""Steps that start another Envoy beside the first: for its own sake, or to take over from it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from envoyassert.scenario.grammar import Argument, Many, Model
from envoyassert.scenario.steps.load import StepUnderLoad

#: The name of the Envoy that the scenario starts with.
FIRST = "first"


class Another(Model):
    """In what another Envoy differs from the one that the scenario describes."""

    concurrency: int | None = Field(
        None, ge=0, le=1024, description="Its --concurrency; by default that of the first."
    )
    overlay: dict[str, Any] = Field(
        default_factory=dict, description="Merged into its config, as `envoy.overlay` is."
    )
    args: Many[Argument] = Field((), description="Arguments after those of the first.")


class StartStep(StepUnderLoad):
    """Start another Envoy in the same network namespace; over when it is LIVE or has ended.

    What it is called is the name of the step. Needs `launcher: process`.
    """

    start: Another = Field(description="In what it differs from the first; {} if in nothing.")


class HotRestartStep(StepUnderLoad):
    """Start the next epoch, which takes over the sockets; over when the one before has ended.

    The scenario's `envoy.args` say how long the one before may go on: `--parent-shutdown-time-s`,
    `--drain-time-s`. Needs `launcher: process`.
    """

    hot_restart: Another = Field(description="In what the next epoch differs; {} if in nothing.")
