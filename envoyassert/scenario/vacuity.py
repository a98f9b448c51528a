"""Expectations that nothing could fail: they say nothing, though they look as if they did."""

from __future__ import annotations

from envoyassert.scenario.model import Scenario
from envoyassert.words.registry import word_of

Where = tuple[str | int, ...]


def vacuous(scenario: Scenario) -> list[tuple[Where, str]]:
    """Return where a scenario expects what no trace could fail, and why none could.

    Args:
        scenario: the scenario, as written.
    """
    return [
        (("expect", index, *place), reason)
        for index, item in enumerate(scenario.expect)
        for place, reason in word_of(item).vacuous(item)
    ]
