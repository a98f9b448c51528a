"""The control plane of a run, from its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envoyassert.errors import ScenarioError
from envoyassert.scenario.listeners import items_of, proto_field
from envoyassert.scenario.xds import FILE, SOCKET

if TYPE_CHECKING:
    from envoyassert.launch.base import Launcher
    from envoyassert.scenario.plan import RunPlan
    from envoyassert.xds.control_plane import ControlPlane


def open_control_plane(plan: RunPlan, launcher: Launcher) -> ControlPlane | None:
    """Return what gives an Envoy its listeners, None if the plan has no control plane.

    Call it before Envoy is started.

    Args:
        plan: the run, `${rundir}` replaced.
        launcher: the place to start Envoy in.

    Raises:
        ScenarioError: a listener or another resource cannot be sent as it is.
        MachineError: the libraries are missing, or there is no place for a socket.
    """
    if plan.xds is None:
        return None
    from envoyassert.xds.control_plane import AdsControlPlane, FileControlPlane
    from envoyassert.xds.resources import ResourceError

    listeners = [
        {key: value for key, value in resource.items() if key != "@type"}
        for resource in items_of(proto_field(plan.files.get(FILE), "resources"))
    ]
    if plan.xds.via == "file":
        return FileControlPlane(f"{launcher.rundir()}/{FILE}", listeners)
    _check_updates(plan, listeners)
    try:
        return AdsControlPlane(
            launcher.shared_dir() / SOCKET,
            delta=plan.xds.via == "delta_ads",
            listeners=listeners,
            resources=plan.xds.resources,
            withheld=plan.xds.withheld,
        )
    except ResourceError as error:
        place = ("envoy", "xds", *error.path)
        problem = plan.loaded.document.problem(place, error.message, error.remedy, at_value=True)
        raise ScenarioError([problem]) from error


def _check_updates(plan: RunPlan, listeners: list[Any]) -> None:
    """Refuse an update that cannot be sent, before anything is started for it."""
    from envoyassert.xds.control_plane import packed_listeners
    from envoyassert.xds.resources import ResourceError

    for number, step in enumerate(plan.steps):
        if not step.updates_listeners:
            continue
        listeners = [*step.served(listeners)]
        try:
            packed_listeners(listeners)
        except ResourceError as error:
            place: tuple[str | int, ...] = ("steps", number, step.kind)
            within = step.place_of_listener(listeners[int(error.path[1])]["name"])
            if within is not None:
                place = (*place, *within, *error.path[2:])
            problem = plan.loaded.document.problem(place, error.message, error.remedy)
            raise ScenarioError([problem]) from error
