"""Steps that send a signal, or ask Envoy to quit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from envoyassert.scenario.grammar import Yes
from envoyassert.steps.load import StepUnderLoad

#: The signals that end Envoy (source/server/server.cc handles the first two; SIGKILL cannot be).
FATAL = ("SIGTERM", "SIGINT", "SIGKILL")

Signal = Literal["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGSTOP", "SIGCONT"]
"""A signal that a step sends."""


class SignalStep(StepUnderLoad):
    """Send Envoy a signal; if it is one that ends it, the step is over when Envoy has ended."""

    kind: ClassVar[str] = "signal"
    ends_envoy: ClassVar[bool] = True
    examples: ClassVar[Mapping[str, str]] = {**StepUnderLoad.examples, "signal": "signal: SIGTERM"}

    signal: Signal = Field(
        description="SIGTERM, SIGINT and SIGKILL end Envoy. SIGUSR1 lets it reopen its logs. "
        "SIGSTOP stops all its threads, so that clients wait in the queues, until SIGCONT."
    )


class QuitStep(StepUnderLoad):
    """Ask Envoy to quit by its admin endpoint; the step is over when it has ended."""

    kind: ClassVar[str] = "quit"
    ends_envoy: ClassVar[bool] = True
    examples: ClassVar[Mapping[str, str]] = {**StepUnderLoad.examples, "quit": "quit: true"}

    quit: Yes = Field(description="true: POST /quitquitquit.")
