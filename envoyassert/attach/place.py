"""Where a foreign process lives, as the kernel, the runtimes and the engine say it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from envoyassert.addresses import Address
from envoyassert.launch.admin import connect_admin, request
from envoyassert.launch.engine import engine_address
from envoyassert.launch.inside import opened, proc_root, read_inside
from envoyassert.live.place import (
    CGROUPS,
    ProcessPlace,
    named_by_annotations,
    named_by_logs,
    named_by_storage,
    process_place_of,
    without_mount,
)
from envoyassert.live.selection import ProcessSelection

#: The first process, whose files are the machine's: this one may be in a container.
_MACHINE = 1
_POD_LOGS = "/var/log/pods"
#: containerd mounts a container's root there, beside the bundle's config (containerd,
#: core/runtime/v2; the state directory in front of it differs: k3s, microk8s).
_ROOT_OF = r"(?P<bundle>/\S*/io\.containerd\.runtime\.v2\.task/[^/\s]+/{id})/rootfs"
#: CRI-O and Podman (containers/storage, RunDirectory and GraphRoot).
_USERDATA = (
    "/run/containers/storage/overlay-containers/{id}/userdata",
    "/var/lib/containers/storage/overlay-containers/{id}/userdata",
)
_LARGEST = 16 << 20
#: An engine that does not answer within this is as good as none.
_ANSWER_S = 2.0


def where_is(pid: int) -> ProcessPlace | None:
    """Return where a process lives; None if it has ended."""
    try:
        place = process_place_of(Path(f"/proc/{pid}/cgroup").read_text("utf-8", "surrogateescape"))
    except OSError:
        return None
    if not place.container and not place.pod_uid:
        return place
    found: dict[str, str] = {}
    for container in place.containers[-1:]:
        # What the bundle says of a pod is the engine's own, if the engine made it for a pod.
        found = {**_said_by_engine(container), **said_by_bundle(pid, place.containers)}
    uid = place.pod_uid or found.get("pod_uid", "")
    if uid and "pod" not in found:
        found |= named_by_logs(uid, _directories(_POD_LOGS))
    if place.pod_uid:
        found["pod_uid"] = place.pod_uid
    return replace(place, **found)  # type: ignore[arg-type]  # all of these are text


def node_name() -> str:
    """Return the name of the machine: a pod of `contrib/kubernetes` has it in `NODE_NAME`."""
    return os.environ.get("NODE_NAME") or platform.node()


def inner_pid(pid: int) -> int:
    """Return the number that a process has in its own pid namespace; its number here if gone."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
        found = re.search(r"^NSpid:\s.*?(\d+)$", status, re.MULTILINE)
        if found:
            return int(found[1])
    return pid


def missing(selection: ProcessSelection) -> Iterator[str]:
    """Yield the places that are meant and are not there now, as far as that can be known.

    A name may be wrong, or of what is still to come.
    """
    container, pod = selection.container, selection.pod
    if container and _ask_engine(f"/containers/{container}/json") == {}:
        yield f"the engine has no container {container} now"
    logs = _directories(_POD_LOGS)
    if pod and logs and not any(name.startswith(f"{pod.replace('/', '_')}_") for name in logs):
        yield f"no pod {pod} has logs on this machine now"
    if selection.cgroup:
        # In the first version each controller has a hierarchy, mounted below its name.
        below = ("", *(f"/{name}" for name in _directories(CGROUPS)))
        path = without_mount(selection.cgroup)
        if not any(_is_directory(f"{CGROUPS}{one}{path}") for one in below):
            yield f"there is no cgroup {selection.cgroup} now"


def _is_directory(path: str) -> bool:
    try:
        with opened(proc_root(_MACHINE), path, os.O_PATH | os.O_DIRECTORY):
            return True
    except OSError:
        return False


def _said_by_engine(container: str) -> dict[str, str]:
    answer = _ask_engine(f"/containers/{container}/json") or {}
    name = str(answer.get("Name", "")).lstrip("/")
    config = answer.get("Config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    found = named_by_annotations(labels if isinstance(labels, dict) else {})
    image = config.get("Image") if isinstance(config, dict) else None
    known = {"container_name": name, "image": image, "image_id": answer.get("Image")}
    return {**{key: value for key, value in known.items() if isinstance(value, str)}, **found}


def _ask_engine(path: str) -> dict[str, Any] | None:
    """Return what the engine answers: {} if there is no such thing, None if it does not answer."""
    url = engine_address().url
    if not url.startswith("unix://"):
        return None
    try:
        connection = connect_admin(Address.unix(url.removeprefix("unix://")), "/", _ANSWER_S)
        status, body = request(connection, path, deadline_s=_ANSWER_S)
        answer = json.loads(body) if status == 200 else {}
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else {}


def said_by_bundle(pid: int, containers: Sequence[str]) -> dict[str, str]:
    """Return what the bundle of a process's container says, by the members of `Place`.

    Args:
        pid: the process.
        containers: ids of the containers around it, the outermost first.
    """
    for root, directory in _bundles(pid, containers):
        try:
            text = read_inside(root, f"{directory}/config.json", _LARGEST)
            annotations = json.loads(text).get("annotations")
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        if isinstance(annotations, dict):
            stored = _said_by_storage(root, directory, containers[-1])
            return {**stored, **named_by_annotations(annotations)}
    return {}


def _said_by_storage(root: str, bundle: str, container: str) -> dict[str, str]:
    """Return what the storage says that a bundle is in: Podman's bundle has no names."""
    try:
        storage = PurePosixPath(bundle).parents[1] / "containers.json"
        return named_by_storage(read_inside(root, str(storage), _LARGEST), container)
    except (OSError, ValueError, IndexError):
        return {}


def _bundles(pid: int, containers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield where the bundle of a container may be: a root, and the directory below it."""
    container = containers[-1]
    for one in (_MACHINE, os.getpid(), *_starters(pid, tuple(containers[:-1]))):
        root = proc_root(one)
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/mountinfo").read_text("utf-8", "surrogateescape")
            for found in re.finditer(_ROOT_OF.format(id=container), text):
                yield root, found["bundle"]
        yield from ((root, form.format(id=container)) for form in _USERDATA)
        yield from ((root, bundle) for bundle in _monitored(one, container))


def _monitored(pid: int, container: str) -> Iterator[str]:
    """Yield the bundle of a container if a process is its monitor: Podman's and CRI-O's `conmon`.

    Its option `-b` names the directory, wherever the storage is (conmon, src/cli.c).
    """
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "surrogateescape")
        option, _, rest = words.partition("\0-b\0")
        if f"\0{container}\0" in option:
            yield rest.partition("\0")[0]


def _starters(pid: int, around: tuple[str, ...]) -> Iterator[int]:
    """Yield the ancestors of a process that are just outside its container, the nearest first.

    One of them started the container, and sees its bundle, where the files of the first process
    may not be read. What is inside of a container, or in another one, may lie about it.
    """
    with contextlib.suppress(OSError):
        while pid := _parent(pid):
            cgroups = Path(f"/proc/{pid}/cgroup").read_text("utf-8", "surrogateescape")
            if process_place_of(cgroups).containers == around:
                yield pid


def _parent(pid: int) -> int:
    """Return the parent of a process, 0 if it has none that is seen from here."""
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    found = re.search(r"^PPid:\s(\d+)$", status, re.MULTILINE)
    return int(found[1]) if found else 0


def _directories(path: str) -> list[str]:
    try:
        with opened(proc_root(_MACHINE), path, os.O_RDONLY | os.O_DIRECTORY) as directory:
            return os.listdir(directory)  # noqa: PTH208 - a descriptor
    except OSError:
        return []
