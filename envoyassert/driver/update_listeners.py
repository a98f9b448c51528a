"""Giving Envoy other listeners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoyassert.driver.base import NO_REST, DrivenEnvoy, Driver
from envoyassert.scenario.listeners import configured_listeners
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.xds import FILE, discovery_response
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.update_listeners import UpdateListenersStep, refusal_of
from envoyassert.trace import ListenerRecord
from envoyassert.xds.control_plane import ListenerUpdate


class UpdateListenersDriver(Driver[UpdateListenersStep]):
    """Gives Envoy other listeners, by the control plane of the run."""

    step = UpdateListenersStep

    def carry_out(self, step: UpdateListenersStep, deadline_s: float) -> StepResult:
        """Give them, and wait until Envoy has answered, warmed them and come to rest."""
        envoy, plane = self.envoy, self.envoy.control_plane
        if plane is None:
            raise StepProblem("the scenario has no control plane (envoy.xds)")
        before = _records(envoy, plane.listeners)
        try:
            listeners = step.served(plane.listeners)
        except OverlayError as error:
            raise StepProblem(error.message) from error
        update = plane.update(envoy, listeners, step.update_listeners.release or (), deadline_s)
        if update.hidden:
            raise StepProblem(
                "Envoy's statistics `listener_manager.lds` cannot be asked for, by which its "
                "answer is known; with `via: ads` it answers the control plane itself"
            )
        known = envoy.listeners or before
        return StepResult(
            missed=_missed(update, deadline_s, survived=envoy.exited() is None),
            update=update.fact,
            listeners=listeners_after(known, _records(envoy, listeners), update.message),
        )


def _missed(update: ListenerUpdate, deadline_s: float, *, survived: bool) -> str:
    """Return what Envoy should have done after an update and did not.

    Raises:
        StepProblem: it did all of that, and still has work to do.
    """
    version = f"version {update.version} of its listeners"
    if not survived:
        return f"Envoy survives {version}"
    if update.fact is None:
        return f"Envoy answers {version} within {deadline_s:g} s"
    if not update.warmed:
        return f"no listener warms any more within {deadline_s:g} s"
    if not update.settled:
        raise StepProblem(NO_REST.format(deadline_s))
    return ""


def _records(envoy: DrivenEnvoy, listeners: Sequence[Any]) -> tuple[ListenerRecord, ...]:
    files = {**envoy.plan.files, FILE: discovery_response(listeners)}
    return configured_listeners(envoy.plan.config, files)


def listeners_after(
    before: tuple[ListenerRecord, ...], given: tuple[ListenerRecord, ...], message: str
) -> tuple[ListenerRecord, ...]:
    """Return the listeners that expectations may name after an update.

    Those that were removed remain, by what they were: their sockets are to be looked for. So does
    the old form of one that Envoy refused to change.

    Args:
        before: what was known before.
        given: what was given to Envoy.
        message: what it said of those that it refused, or "".
    """
    old = {record.name: record for record in before}
    kept = [
        old[record.name] if record.name in old and refusal_of(record.name, message) else record
        for record in given
    ]
    names = {record.name for record in given}
    return (*kept, *(record for record in before if record.name not in names))
