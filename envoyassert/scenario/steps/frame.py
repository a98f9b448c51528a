"""What every step has."""

from __future__ import annotations

from pydantic import Field

from envoyassert.scenario.grammar import Duration, Model
from envoyassert.scenario.words import NAME_PATTERN


class Step(Model):
    """Something that is done to a running Envoy; it begins a phase of its name."""

    name: str | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="Name of its phase, for `during` and `at_end_of`; by default its kind.",
    )
    deadline: Duration = Field("10s", description="How long it may take to be over.")
