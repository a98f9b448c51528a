"""What can be said of an update: Envoy's own answer to it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Model


class Update(Model):
    """What Envoy said of listeners that it was given."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentSchemas": {"message_contains": {"properties": {"result": {"const": "nack"}}}}
        }
    )

    result: Literal["ack", "nack"] = Field(description="Whether it accepted all of them.")
    message_contains: str | None = Field(
        None, min_length=1, description="Part of what it said of those that it refused."
    )

    @model_validator(mode="after")
    def _reason_of_a_refusal(self) -> Update:
        if self.message_contains is not None and self.result != "nack":
            raise ValueError("only a refusal has a message: write result: nack")
        return self


class UpdateExpectation(Conditional):
    """What Envoy said of the listeners of a phase.

    An update that is refused without such an expectation fails the run.
    """

    update: Update = Field(description="Accepted or refused, and why.")
