"""How what is known of a run gets to where all reports arrive: on the reports of its test.

Under xdist the test runs in another process, and a report crosses as JSON; without it the events
take the same way. Each report carries all events of its test so far: one that another plugin holds
back loses nothing.
"""

from __future__ import annotations

import functools
import os
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import pytest

from envoyassert.errors import Problem, ScenarioError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from envoyassert.outputs.events import RunEvent, RunJudged

_ATTRIBUTE = "envoyassert_events"
_PROBLEMS = "envoyassert_problems"


class _Recorder:
    """The events of one test.

    Attributes:
        token: a name that no other test has, in any process.
        events: in their order.
    """

    def __init__(self) -> None:
        self.token = os.urandom(8).hex()
        self.events: list[RunEvent] = []


_RECORDER = pytest.StashKey[_Recorder]()


def without_surrogates(text: str) -> str:
    """Return a text that JSON can carry: bytes of a path that are no UTF-8 are escapes."""
    return text.encode(errors="backslashreplace").decode()


def without_surrogates_in(problem: Problem) -> Problem:
    """Return a problem with texts that JSON can carry."""
    return replace(
        problem,
        path=without_surrogates(problem.path),
        message=without_surrogates(problem.message),
        remedy=without_surrogates(problem.remedy),
    )


def record(item: pytest.Item, event: RunEvent) -> None:
    """Take an event of a run."""
    item.stash.setdefault(_RECORDER, _Recorder()).events.append(event)


def verdicts_of(item: pytest.Item) -> list[RunJudged]:
    """Return the verdicts on a run so far, of each time that it was executed."""
    recorder = item.stash.get(_RECORDER, None)
    events = () if recorder is None else recorder.events
    return [event for event in events if event.event == "run_judged"]


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Have a report carry the events of its test."""
    recorder = item.stash.get(_RECORDER, None)
    if recorder is not None:
        text = _format().dump_json(recorder.events).decode()
        setattr(report, _ATTRIBUTE, [recorder.token, text])


def attach_problems(report: pytest.CollectReport, error: ScenarioError) -> None:
    """Have the report of a file that cannot be collected carry what is wrong with it."""
    setattr(report, _PROBLEMS, [astuple(without_surrogates_in(one)) for one in error.problems])


def problems_of(report: pytest.CollectReport) -> tuple[Problem, ...]:
    """Return what is wrong with a scenario file, as its report carries it."""
    return tuple(Problem(*parts) for parts in getattr(report, _PROBLEMS, ()))


class Arrivals:
    """Takes the events from reports, each once."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, report: pytest.TestReport) -> list[RunEvent]:
        """Return the events that a report carries and none before it; they are taken off it."""
        carried = vars(report).pop(_ATTRIBUTE, None)
        if carried is None:
            return []
        token, text = carried
        events = _format().validate_json(text)
        new = events[self._taken.get(token, 0) :]
        self._taken[token] = len(events)
        return new


@functools.cache
def _format() -> TypeAdapter[list[RunEvent]]:
    from pydantic import TypeAdapter

    from envoyassert.outputs.events import RunEvent

    return TypeAdapter(list[RunEvent])
