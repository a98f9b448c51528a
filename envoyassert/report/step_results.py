"""The steps of a run, as its story shows them: what was done when, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoyassert.judge.interval import plural
from envoyassert.report.call import Clock
from envoyassert.report.table import columns
from envoyassert.texts.findings import outcome_in_words
from envoyassert.trace import Phase, Trace
from envoyassert.words.attempts import fates


def describe_steps(trace: Trace, clock: Clock) -> list[dict[str, Any]]:
    """Return the phases of a run as plain JSON types; none if its scenario has no steps."""
    return [
        {
            "name": phase.name,
            "kind": phase.kind,
            "begins_ms": clock.ms(phase.begin_ns),
            "ends_ms": clock.ms(phase.end_ns),
            "ends": clock.text(phase.end_ns),
            "missed": phase.missed,
            "problem": phase.problem,
            "attempts": {fate: number for fate, number in fates(phase.attempts).items() if number},
            "update": None
            if phase.update is None
            else {"result": phase.update.result, "message": phase.update.message},
            "process": outcome_in_words(phase.outcome),
            "came_of_it": "; ".join(_came_of(phase)),
        }
        for phase in trace.phases
    ]


def _came_of(phase: Phase) -> Iterator[str]:
    if phase.problem:
        yield f"not carried out: {phase.problem}"
    if phase.missed:
        yield f"it did not come to this: {phase.missed}"
    if phase.attempts:
        described = [f"{n} {fate}" for fate, n in fates(phase.attempts).items() if n]
        yield f"{plural(len(phase.attempts), 'attempt')} to connect ({', '.join(described)})"
    if phase.update is not None:
        yield phase.update.result + (f": {phase.update.message}" if phase.update.message else "")
    if not phase.outcome.running:
        yield f"Envoy {outcome_in_words(phase.outcome)}"


def step_lines(steps: list[dict[str, Any]]) -> list[str]:
    """Return the lines that show the phases of a run, the times being those of their ends."""
    rows = [
        [
            step["ends"],
            step["name"],
            "" if step["kind"] == step["name"] else step["kind"],
            step["came_of_it"] or "over",
        ]
        for step in steps
    ]
    return ["", "Phases, and when each was over", *columns(rows, "  ")] if rows else []
