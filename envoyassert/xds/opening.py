"""The control plane of a run, from its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.errors import ScenarioError
from envoyassert.scenario.listeners import items_of, proto_field
from envoyassert.scenario.xds import FILE, SOCKET
from envoyassert.xds.control_plane import AdsControlPlane, ControlPlane, FileControlPlane
from envoyassert.xds.resources import ResourceError

if TYPE_CHECKING:
    from envoyassert.launch.base import Launcher
    from envoyassert.scenario.plan import RunPlan


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
    if plan.xds.via == "file":
        return FileControlPlane(f"{launcher.rundir()}/{FILE}")
    listeners = [
        {key: value for key, value in resource.items() if key != "@type"}
        for resource in items_of(proto_field(plan.files.get(FILE), "resources"))
    ]
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
