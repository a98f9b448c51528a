"""Giving Envoy other listeners."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from envoyassert.scenario.listeners import configured_listeners
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.steps.update_listeners import UpdateListenersStep, updated
from envoyassert.scenario.xds import FILE, discovery_response
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult
from envoyassert.trace import ListenerRecord, UpdateResult
from envoyassert.xds.control_plane import ListenerUpdate


def update_listeners(
    envoy: DrivenEnvoy, step: UpdateListenersStep, deadline_s: float
) -> StepResult:
    """Give Envoy other listeners, and wait until it has answered, warmed them and come to rest."""
    plane = envoy.control_plane
    if plane is None:
        raise StepProblem("the scenario has no control plane (envoy.xds)")
    wish = step.update_listeners
    before = _records(envoy, plane.listeners)
    try:
        listeners = updated(plane.listeners, wish)
    except OverlayError as error:
        raise StepProblem(error.message) from error
    update = plane.update(envoy, listeners, wish.release or (), deadline_s)
    result = result_of(update)
    if update.hidden:
        raise StepProblem(
            "Envoy's statistics `listener_manager.lds` cannot be asked for, by which its answer is "
            "known; with `via: ads` it answers the control plane itself"
        )
    missed = ""
    if envoy.exited() is not None:
        missed = f"Envoy survives version {update.version} of its listeners"
    elif result is None:
        missed = f"Envoy answers version {update.version} of its listeners within {deadline_s:g} s"
    elif not update.warmed:
        missed = f"no listener warms any more within {deadline_s:g} s"
    elif not update.settled:
        raise StepProblem(f"Envoy did not come to rest within {deadline_s:g} s")
    known = envoy.listeners or before
    return StepResult(
        missed=missed,
        update=result,
        listeners=listeners_after(known, _records(envoy, listeners), update.message),
    )


def result_of(update: ListenerUpdate) -> UpdateResult | None:
    """Return Envoy's answer as a fact of a phase, None if there was none."""
    if update.result == "none":
        return None
    return UpdateResult(update.result, update.version, update.message)


def _records(envoy: DrivenEnvoy, listeners: Sequence[Any]) -> tuple[ListenerRecord, ...]:
    files = {**envoy.plan.files, FILE: discovery_response(listeners)}
    return configured_listeners(envoy.plan.config, files)


def listeners_after(
    before: tuple[ListenerRecord, ...], given: tuple[ListenerRecord, ...], message: str
) -> tuple[ListenerRecord, ...]:
    """Return the listeners that expectations may speak of after an update.

    Those that were removed remain, by what they were: their sockets are to be looked for. So does
    the old form of one that Envoy refused to change.

    Args:
        before: what was known before.
        given: what was given to Envoy.
        message: what it said of those that it refused, or "".
    """
    old = {record.name: record for record in before}
    kept = [
        old[record.name] if record.name in old and _refused(record.name, message) else record
        for record in given
    ]
    names = {record.name for record in given}
    return (*kept, *(record for record in before if record.name not in names))


def _refused(name: str, message: str) -> bool:
    """Whether a message speaks of a listener: `Error adding/updating listener(s) NAME: …`."""
    return re.search(rf"(?:listener\(s\) |^){re.escape(name)}: ", message, re.MULTILINE) is not None
