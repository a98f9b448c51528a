"""Whether the clients of a scenario's steps have somewhere to go, as far as its file tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envoyassert.addresses import Address
from envoyassert.scenario.complaint import Complaint
from envoyassert.scenario.destination import (
    DestinationError,
    Place,
    configured_places,
    destination,
)
from envoyassert.scenario.listeners import configured_listeners, discovers_listeners
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.overlay import OverlayError, merge
from envoyassert.scenario.own_namespaces import MADE
from envoyassert.scenario.selector import Selector
from envoyassert.scenario.steps.another import HotRestartStep, StartStep
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.steps.load import StepUnderLoad
from envoyassert.scenario.steps.redirect import RedirectStep
from envoyassert.scenario.steps.replace_file import ReplaceFileStep
from envoyassert.scenario.steps.traffic import ConnectStep
from envoyassert.trace import ListenerRecord


def client_complaints(
    scenario: Scenario,
    config: dict[str, Any],
    files: Mapping[str, Any],
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
    for path, selector in _wishes(scenario.steps):
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
        if isinstance(step, RedirectStep):
            address = Address.inet(step.redirect.address, step.redirect.port)
            yield Place("", "TCP", address, address)


def _wishes(steps: Sequence[Step]) -> Iterator[tuple[tuple[str | int, ...], Selector]]:
    """Yield place and selector of all that sends clients."""
    for index, step in enumerate(steps):
        if isinstance(step, ConnectStep):
            yield ("steps", index, "connect", "listener"), step.connect.listener
        elif isinstance(step, StepUnderLoad) and step.load is not None:
            yield ("steps", index, "load", "listener"), step.load.listener


def _unmade(
    path: tuple[str | int, ...], selector: Selector, made: Sequence[str]
) -> Iterator[Complaint]:
    netns = selector.netns or ""
    name = netns[len(MADE) :]
    if netns.startswith(MADE) and name not in made:
        remedy = f"add it to `envoy.netns`, which has: {', '.join(made) or 'none'}"
        yield Complaint((*path, "netns"), f"no network namespace `{name}` is made", remedy, True)


def listeners_of_steps(
    steps: Sequence[Step], config: dict[str, Any], files: Mapping[str, Any]
) -> Iterator[ListenerRecord]:
    """Yield the listeners that come with files that steps replace, and with further Envoys."""
    for step in steps:
        if isinstance(step, ReplaceFileStep):
            replaced = {step.replace_file.path: step.replace_file.content}
            yield from configured_listeners({}, replaced)
        wish = step.start if isinstance(step, StartStep) else None
        wish = step.hot_restart if isinstance(step, HotRestartStep) else wish
        if wish is None or not wish.overlay:
            continue
        try:
            yield from configured_listeners(merge(config, wish.overlay), files)
        except OverlayError:
            continue  # a problem of that step
