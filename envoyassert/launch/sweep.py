"""Remove what killed runs left behind, and nothing that a living run owns."""

from __future__ import annotations

import os
from pathlib import Path

from envoyassert.errors import DockerUnavailableError
from envoyassert.launch.rundir import sweep_rundirs


def sweep() -> list[str]:
    """Remove run directories, processes and containers of owners that have died.

    Containers are looked for only where an engine seems to be; without one nothing is imported
    and nothing is an error.

    Returns:
        What was removed: paths and container names.
    """
    removed = sweep_rundirs()
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if socket.startswith("unix://") and not Path(socket.removeprefix("unix://")).exists():
        return removed
    from envoyassert.launch.container import sweep_containers
    from envoyassert.launch.engine import connect

    try:
        with connect() as client:
            removed += sweep_containers(client)
    except DockerUnavailableError:
        # An engine that cannot be asked holds nothing that could be removed from here.
        pass
    return removed
