"""The step that makes a system call of Envoy's fail, or late."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.grammar import Duration, ErrnoName, Model
from envoyassert.scenario.steps.frame import Step


class Fault(Model):
    """Which call, and what becomes of it. Each thread counts its own calls."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [key]} for key in ("error", "delay")]}
    )

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

    The kernel never sees a call that is made to fail, nor does the probe: strace tells the trace of
    it. Needs strace, and the launcher `process`.
    """

    fault: Fault = Field(description="Which call, and how.")
    before: Literal["startup"] = Field(
        description="`startup`: strace has to start Envoy. No phase of its own; such steps come "
        "first, and need `requires: {launcher: process}`."
    )
