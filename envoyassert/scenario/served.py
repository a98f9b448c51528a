"""What a control plane makes of one run: its bootstrap, its files, the listeners to come."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import ValidationError

from envoyassert.scenario.complaint import Complaint, complaints_of
from envoyassert.scenario.listeners import configured_listeners
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.steps.update_listeners import UpdateListenersStep, updated
from envoyassert.scenario.xds import FILE, Xds, XdsError, discovery_response, with_control_plane
from envoyassert.trace import ListenerRecord


class Served(NamedTuple):
    """One run with its control plane, if it has one.

    Args:
        xds: the control plane, None if there is none.
        config: the bootstrap that asks it.
        files: the run's files, the first listeners among them.
        later: the listeners of all updates.
        faults: what does not fit.
    """

    xds: Xds | None
    config: dict[str, Any]
    files: dict[str, Any]
    later: tuple[ListenerRecord, ...]
    faults: tuple[Complaint, ...]


def served(scenario: Scenario, config: dict[str, Any]) -> Served:
    """Return what a scenario's control plane makes of one run.

    Args:
        scenario: the scenario.
        config: bootstrap after all overlays; under `xds` it has what is served.
    """
    own = scenario.envoy
    if own.xds is None:
        return Served(None, config, own.files, *_updates(scenario, None))
    bootstrap = {key: value for key, value in config.items() if key != "xds"}
    try:
        xds = Xds.model_validate(config["xds"])
    except ValidationError as error:
        faults = [
            Complaint(("matrix",), f"xds: {fault.message}", fault.remedy)
            for fault in complaints_of(error)
        ]
        return Served(None, bootstrap, own.files, (), tuple(faults))
    files = {**own.files, FILE: discovery_response(xds.listeners)}
    later, told = _updates(scenario, xds)
    try:
        if FILE in own.files:
            raise XdsError(f"`{FILE}` is the control plane's own file", "rename yours")
        return Served(xds, with_control_plane(bootstrap, xds), files, later, told)
    except XdsError as error:
        fault = Complaint(("envoy", "xds"), error.message, error.remedy)
        return Served(xds, bootstrap, files, later, (fault, *told))


def _updates(
    scenario: Scenario, xds: Xds | None
) -> tuple[tuple[ListenerRecord, ...], tuple[Complaint, ...]]:
    """Return the listeners of all updates, and what does not fit the ones before."""
    now = list(xds.listeners) if xds is not None else []
    records: list[ListenerRecord] = []
    faults: list[Complaint] = []
    for index, step in enumerate(scenario.steps):
        if not isinstance(step, UpdateListenersStep):
            continue
        place = ("steps", index, "update_listeners")
        if xds is None:
            remedy = "write the listeners in envoy.xds"
            return (), (Complaint(place, "there is no control plane to give them", remedy),)
        faults += [
            Complaint(
                (*place, "release", number),
                f"`{name}` is not withheld",
                "add it to envoy.xds.withheld",
            )
            for number, name in enumerate(step.update_listeners.release or ())
            if name not in xds.withheld
        ]
        try:
            now = updated(now, step.update_listeners)
        except OverlayError as error:
            faults.append(Complaint((*place, *error.path), error.message, error.remedy))
            break
        records += configured_listeners({}, {FILE: discovery_response(now)})
    return tuple(records), tuple(faults)
