"""Steps that wait for something to happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.grammar import Yes
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.timing import State
from envoyassert.steps.base import Part
from envoyassert.steps.load import StepUnderLoad


class Stat(Part):
    """A counter or gauge of Envoy, by the admin endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [key]} for key in ("equals", "at_least", "at_most")]
        }
    )

    heading: ClassVar[str] = "`stat`"
    examples: ClassVar[Mapping[str, str]] = {
        "name": "name: listener_manager.lds.version, at_least: 1",
        "equals": "equals: 0",
        "at_least": "at_least: 1",
        "at_most": "at_most: 4",
    }

    name: str = Field(min_length=1, description="Its whole name, as /stats prints it.")
    equals: int | None = Field(None, ge=0, description="It has this value.")
    at_least: int | None = Field(None, ge=0, description="It has this value or a greater one.")
    at_most: int | None = Field(None, ge=0, description="It has this value or a smaller one.")

    @model_validator(mode="after")
    def _some_bound(self) -> Stat:
        if self.equals is None and self.at_least is None and self.at_most is None:
            raise ValueError("give equals, at_least or at_most")
        return self

    def holds(self, value: int) -> bool:
        """Return whether a value is one that is waited for."""
        return (
            (self.equals is None or value == self.equals)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
        )

    def __str__(self) -> str:
        bounds = (("", self.equals), ("at least ", self.at_least), ("at most ", self.at_most))
        said = " and ".join(f"{word}{value}" for word, value in bounds if value is not None)
        return f"{self.name} to be {said}"


_CONDITIONS = ("call", "state", "stat", "ready", "exit")


class WaitFor(Part):
    """One condition; the step is over as soon as it holds."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [condition]} for condition in _CONDITIONS]}
    )

    heading: ClassVar[str] = "`wait_for`"
    examples: ClassVar[Mapping[str, str]] = {
        "call": "call: {call: epoll_ctl, listener: {port: 15006}}",
        "state": "state: {listener: {port: 15006}, served: false}",
        "stat": "stat: {name: listener_manager.total_listeners_draining, equals: 0}",
        "ready": "ready: true",
        "exit": "exit: true",
    }

    call: CallPattern | None = Field(
        None,
        description="A call that matches was made since the last step that did something began, "
        "or since the start if none did.",
    )
    state: State | None = Field(
        None,
        description="A listener has a state, or has it not; with `by`, of several "
        "Envoys that of the one that was started last.",
    )
    stat: Stat | None = Field(None, description="A counter or gauge has a value.")
    ready: bool | None = Field(
        None, description="true: /ready says LIVE; false: it says something else."
    )
    exit: Yes | None = Field(None, description="true: Envoy has ended.")

    @model_validator(mode="after")
    def _one_condition(self) -> WaitFor:
        given = [name for name in _CONDITIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(_CONDITIONS)}")
        return self


class WaitForStep(StepUnderLoad):
    """Wait until something has happened; that it does not is a fault of Envoy."""

    kind: ClassVar[str] = "wait_for"
    acts: ClassVar[bool] = False
    examples: ClassVar[Mapping[str, str]] = {
        **StepUnderLoad.examples,
        "wait_for": "wait_for: {exit: true}",
    }

    wait_for: WaitFor = Field(description="What to wait for.")
