"""The step that watches Envoy while nothing is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from envoyassert.durations import parse_duration
from envoyassert.scenario.grammar import Duration
from envoyassert.steps.base import LivingEnvoy, Step, StepDriver, StepProblem, StepResult


def _without_deadline(schema: dict[str, Any]) -> None:
    del schema["properties"]["deadline"]


class PauseStep(Step):
    """Watch an idle Envoy for a time: the scenario sends no clients and changes nothing.

    It is a window to ask about: `never: {call: close, listener: {port: 80}}, during: pause`. It is
    no way to wait until something has happened: that is `wait_for`, which is over as soon as it
    has. The questions to the admin endpoint at the end of every phase are part of it.
    """

    kind: ClassVar[str] = "pause"
    acts: ClassVar[bool] = False
    examples: ClassVar[Mapping[str, str]] = {"name": "name: idle", "pause": "pause: 2s"}
    model_config = ConfigDict(json_schema_extra=_without_deadline)

    pause: Duration = Field(
        description="How long Envoy is watched; it must not end before. There is no `deadline`."
    )

    @model_validator(mode="after")
    def _has_no_deadline(self) -> PauseStep:
        if "deadline" in self.model_fields_set:
            raise ValueError("a pause lasts as long as it says; leave out deadline")
        return self

    def lasts_s(self) -> float:
        """Return it, in seconds."""
        return parse_duration(self.pause)


class PauseDriver(StepDriver[PauseStep, LivingEnvoy]):
    """Lets time pass, and notices at once if Envoy ends."""

    step = PauseStep

    def carry_out(self, step: PauseStep, deadline_s: float) -> StepResult:
        """Wait for the end of Envoy, which must not come."""
        if self.envoy.exited() is not None:
            raise StepProblem("Envoy had ended before")
        pause_s = step.lasts_s()
        ended = self.envoy.exited(pause_s) is not None
        return StepResult(missed=f"Envoy runs for another {pause_s:g} s" if ended else "")
