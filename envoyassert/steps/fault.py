"""The step that makes a system call of Envoy's fail, or late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.durations import parse_duration
from envoyassert.scenario.grammar import Duration, ErrnoName
from envoyassert.steps.base import CallFault, LivingEnvoy, Part, Step, StepDriver


class Fault(Part):
    """Which call, and its result. Each thread counts its own calls."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [key]} for key in ("error", "delay")]}
    )

    heading: ClassVar[str] = "`fault`"
    examples: ClassVar[Mapping[str, str]] = {
        "call": "call: listen, error: EADDRINUSE",
        "nth": "call: listen, nth: 2, error: EADDRINUSE",
        "onwards": "call: accept4, onwards: true, error: EMFILE",
        "error": "call: bind, error: EACCES",
        "delay": "call: bind, delay: 100ms",
    }

    call: Literal[
        "socket", "bind", "listen", "setsockopt", "accept4", "dup", "epoll_ctl", "unlink", "chmod"
    ] = Field(description="Which call.")
    nth: int = Field(1, ge=1, le=65535, description="The first of a thread's calls that is meant.")
    onwards: bool = Field(False, description="true: that one and all after it; false: it alone.")
    error: ErrnoName | None = Field(
        None, description="It fails with this error, and is never carried out."
    )
    delay: Duration | None = Field(None, description="It begins so much later.")

    @model_validator(mode="after")
    def _one_effect(self) -> Fault:
        if (self.error is None) == (self.delay is None):
            raise ValueError("give either error or delay")
        return self


class FaultStep(Step):
    """Let a system call of Envoy's fail or be late, by strace; from its start on.

    The kernel never sees a call that is made to fail, nor does the probe: strace adds it to
    the trace. Needs strace, and the launcher `process`.
    """

    kind: ClassVar[str] = "fault"
    prepares_network: ClassVar[bool] = True
    examples: ClassVar[Mapping[str, str]] = {
        **Step.examples,
        "fault": "fault: {call: listen, nth: 2, error: EADDRINUSE}, before: startup",
        "before": "fault: {call: bind, delay: 100ms}, before: startup",
    }

    fault: Fault = Field(description="Which call, and how.")
    before: Literal["startup"] = Field(
        description="`startup`: strace has to start Envoy. No phase of its own; such steps come "
        "first, and need `requires: {launcher: process}`."
    )

    def faults(self) -> Iterator[CallFault]:
        """Yield the one fault."""
        wanted = self.fault
        yield CallFault(
            wanted.call,
            f"{wanted.nth}{'+' if wanted.onwards else ''}",
            wanted.error or "",
            round(parse_duration(wanted.delay) * 1_000_000) if wanted.delay else 0,
        )


class FaultDriver(StepDriver[FaultStep, LivingEnvoy]):
    """Faults are in force from the start on; there is nothing to carry out."""

    step = FaultStep
