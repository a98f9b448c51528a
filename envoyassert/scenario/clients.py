"""Whether the clients of a scenario's steps have somewhere to go, as far as its file shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from envoyassert.scenario.complaint import Complaint
from envoyassert.scenario.destination import (
    DestinationError,
    Place,
    configured_places,
    destination,
)
from envoyassert.scenario.listeners import configured_listeners, discovers_listeners
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.own_namespaces import MADE
from envoyassert.scenario.selector import Selector
from envoyassert.steps.base import Step
from envoyassert.trace import ListenerRecord


def client_complaints(
    scenario: Scenario,
    config: dict[str, object],
    files: Mapping[str, object],
    later: Sequence[ListenerRecord],
) -> Iterator[Complaint]:
    """Yield which clients cannot be sent where the scenario says.

    Args:
        scenario: the scenario.
        config: bootstrap of the run after all overlays.
        files: files of the run by name, text or data.
        later: the listeners of all updates.
    """
    listeners = configured_listeners(config, files)
    changed = (*later, *listeners_of_steps(scenario.steps, config, files))
    records = (*listeners, *changed)
    known = not discovers_listeners(config) or any(record.kind == "lds" for record in records)
    places = [*configured_places(records), *redirected_places(scenario.steps)]
    names = {record.name for record in records}
    for path, selector in _selectors(scenario.steps):
        yield from _unmade(path, selector, [one.name for one in scenario.envoy.namespaces])
        try:
            destination(selector, places, names)
        except DestinationError as error:
            # What is added, removed or moved during the run may leave one address.
            if known and not (error.ambiguous and changed):
                yield Complaint(path, error.message, error.remedy)


def redirected_places(steps: Sequence[Step]) -> Iterator[Place]:
    """Yield the addresses whose clients are redirected: as if a listener of TCP were there."""
    for step in steps:
        yield from step.redirections()


def _selectors(steps: Sequence[Step]) -> Iterator[tuple[tuple[str | int, ...], Selector]]:
    """Yield place and selector of all that sends clients."""
    for index, step in enumerate(steps):
        for path, selector in step.selectors():
            yield ("steps", index, *path), selector


def _unmade(
    path: tuple[str | int, ...], selector: Selector, made: Sequence[str]
) -> Iterator[Complaint]:
    netns = selector.netns or ""
    name = netns[len(MADE) :]
    if netns.startswith(MADE) and name not in made:
        remedy = f"add it to `envoy.netns`, which has: {', '.join(made) or 'none'}"
        yield Complaint((*path, "netns"), f"no network namespace `{name}` is made", remedy, True)


def listeners_of_steps(
    steps: Sequence[Step], config: dict[str, object], files: Mapping[str, object]
) -> Iterator[ListenerRecord]:
    """Yield the listeners that come with files that steps replace, and with further Envoys."""
    for step in steps:
        with contextlib.suppress(OverlayError):  # a problem of that step
            for one, its_files in step.configs(config, files):
                yield from configured_listeners(one, its_files)
