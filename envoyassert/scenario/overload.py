"""An overload manager that goes by what a file says: at 1 no worker accepts, at 0 they do again."""

from __future__ import annotations

from typing import Any

#: The monitor, and the action that takes listeners out of the epolls of the workers.
MONITOR = "envoy.resource_monitors.injected_resource"
STOP_ACCEPTING = "envoy.overload_actions.stop_accepting_connections"
#: Envoy's gauge of that action: 1 while it is active.
IS_ACTIVE = f"overload.{STOP_ACCEPTING}.active"
#: How often the file is read.
REFRESH = "0.05s"
_KIND = "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig"


def monitor_of(path: str) -> dict[str, Any]:
    """Return the resource monitor of a file.

    Args:
        path: of the file, which holds a number from 0 to 1.
    """
    config = {"@type": f"type.googleapis.com/{_KIND}", "filename": path}
    return {"name": MONITOR, "typed_config": config}


def stop_accepting() -> dict[str, Any]:
    """Return the action that has workers accept nothing while the file says 0.9 or more."""
    return {"name": STOP_ACCEPTING, "triggers": [{"name": MONITOR, "threshold": {"value": 0.9}}]}


def overload_manager(path: str) -> dict[str, Any]:
    """Return an overload manager with nothing but that monitor and that action.

    Args:
        path: of the file.
    """
    return {
        "refresh_interval": REFRESH,
        "resource_monitors": [monitor_of(path)],
        "actions": [stop_accepting()],
    }
