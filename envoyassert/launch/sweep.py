"""Remove what killed runs left behind, and nothing that a living run owns.

Whose a container is, its labels say: to which run it belongs, and which process has to remove it.
"""

from __future__ import annotations

import contextlib
import json
import urllib.parse
from typing import TYPE_CHECKING

from envoyassert.addresses import Address
from envoyassert.errors import DockerUnavailableError
from envoyassert.launch.admin import connect_admin, request
from envoyassert.launch.engine import engine_address
from envoyassert.launch.kernel import Owner
from envoyassert.launch.rundir import sweep_rundirs

if TYPE_CHECKING:
    from docker import DockerClient

LABEL_RUN = "dev.envoyassert.run"
LABEL_OWNER_PID = "dev.envoyassert.owner-pid"
LABEL_OWNER_START = "dev.envoyassert.owner-start"
LABEL_OWNER_NAMESPACE = "dev.envoyassert.owner-pidns"


def owner_labels(run: str) -> dict[str, str]:
    """Return the labels of everything that this process makes at the engine.

    Args:
        run: id of the run, or "".
    """
    owner = Owner.current()
    return {
        LABEL_RUN: run,
        LABEL_OWNER_PID: str(owner.pid),
        LABEL_OWNER_START: str(owner.start),
        LABEL_OWNER_NAMESPACE: str(owner.namespace),
    }


def label_owner(labels: dict[str, str]) -> Owner | None:
    """Return who made a container, by its labels; None if they do not say."""
    names = (LABEL_OWNER_PID, LABEL_OWNER_START, LABEL_OWNER_NAMESPACE)
    return Owner.parse("-".join(labels.get(name, "") for name in names))


#: An engine that does not answer within this keeps no session waiting.
_ANSWER_S = 5.0


def sweep() -> list[str]:
    """Remove run directories, processes and containers of owners that have died.

    Without an engine there are no containers to look for, and that is no error.

    Returns:
        What was removed: paths and container names.
    """
    removed = sweep_rundirs()
    if _has_labelled_containers():
        from envoyassert.launch.engine import connect, engine_errors

        with (
            contextlib.suppress(DockerUnavailableError),
            connect() as client,
            engine_errors("list containers"),
        ):
            removed += _sweep_containers(client)
    return removed


def _has_labelled_containers() -> bool:
    """Ask the engine on this machine over its socket: the SDK takes 0.1 s to import."""
    docker_host = engine_address().url
    if not docker_host.startswith("unix://"):
        return False
    filters = urllib.parse.quote(json.dumps({"label": [LABEL_RUN]}))
    address = Address.unix(docker_host.removeprefix("unix://"))
    try:
        connection = connect_admin(address, "/", _ANSWER_S)
        status, body = request(connection, f"/containers/json?all=1&filters={filters}")
    except OSError:
        return False
    return status == 200 and body.strip() != "[]"


def _sweep_containers(client: DockerClient) -> list[str]:
    """Remove containers whose owner has died, with their volumes; return their names."""
    from docker.errors import APIError

    removed = []
    # Without `ignore_removed` the SDK fails on what another sweep removes meanwhile.
    for container in client.containers.list(
        all=True, filters={"label": LABEL_RUN}, ignore_removed=True
    ):
        owner = label_owner(container.labels)
        if owner is None or not owner.is_dead():
            continue
        # Gone or going already: another sweep was faster.
        with contextlib.suppress(APIError):
            container.remove(force=True, v=True)
            removed.append(str(container.name))
    return removed
