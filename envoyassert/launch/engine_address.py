"""Where the Docker engine is, as its own command finds it: DOCKER_HOST, a context, the usual place.

Read here, and not left to the SDK: only its newer versions know contexts, and importing it takes
0.1 s.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

#: Where an engine listens unless something else is said.
SOCKET = "/var/run/docker.sock"
#: The context that stands for the usual place.
_DEFAULT = "default"


class EngineAddress(NamedTuple):
    """The address of an engine.

    Args:
        url: `unix:///var/run/docker.sock`, `tcp://…`, `ssh://…`.
        said_by: the context that names it, for messages; "" if none does.
        remedy: how to be rid of that context, or "".
    """

    url: str
    said_by: str = ""
    remedy: str = ""


def engine_address() -> EngineAddress:
    """Return where the engine of this user's environment is.

    As `docker` does, DOCKER_HOST counts first, then DOCKER_CONTEXT, then the current context of the
    user's configuration. A context that is not there is passed over, as the SDK does.
    """
    host = os.environ.get("DOCKER_HOST", "")
    if host:
        return EngineAddress(host)
    directory = Path(os.environ.get("DOCKER_CONFIG") or f"{os.environ.get('HOME', '')}/.docker")
    name = os.environ.get("DOCKER_CONTEXT") or _read(directory / "config.json").get(
        "currentContext", ""
    )
    if name and name != _DEFAULT:
        key = hashlib.sha256(str(name).encode()).hexdigest()
        meta = _read(directory / "contexts" / "meta" / key / "meta.json")
        url = _member(_member(_member(meta, "Endpoints"), "docker"), "Host")
        if isinstance(url, str) and url:
            said = f"docker's context `{name}`: {url}"
            return EngineAddress(url, said, "`docker context use default`, or unset DOCKER_CONTEXT")
    return EngineAddress(f"unix://{SOCKET}")


def podman_socket() -> str:
    """Return the path of Podman's socket, "" if there is none."""
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    for directory in ("/run", runtime):
        path = f"{directory}/podman/podman.sock"
        # Not exists(), which raises where a directory above may not be entered.
        if os.access(path, os.F_OK):
            return path
    return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _member(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
