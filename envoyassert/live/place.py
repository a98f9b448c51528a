"""Where a process lives: its container and its pod, by its cgroups and by what runtimes write.

A path of `/proc/<pid>/cgroup` has the container's id as a component of its own (the cgroupfs
driver) or within the name of a scope (the systemd driver): `/docker/<id>`,
`docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`. The pod is
the component above it: `pod<uid>`, or `kubepods-burstable-pod<uid>.slice` with `_` for each `-`
(Kubernetes, pkg/kubelet/cm/pod_container_manager_linux.go; runc, libcontainer/cgroups/systemd).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envoyassert.live.selection import ProcessSelection

#: Of an id so many digits are enough, as engines print them.
_LEAST_DIGITS = 12
_CONTAINER = re.compile(r"(?:[a-z0-9-]+-|[^:/]*:[^:/]*:)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
#: The monitors of CRI-O and Podman, which are in no container.
_MONITOR = re.compile(r".*conmon-[0-9a-f]{64}(?:\.scope)?")
_UID = r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32}"
_POD = re.compile(rf"(?:kubepods-(?:[a-z]+-)?)?pod(?P<uid>{_UID})(?:\.slice)?")
#: A directory of pod logs (Kubernetes, pkg/kubelet/kuberuntime/helpers.go, BuildPodLogsDirectory).
_LOGS = re.compile(r"(?P<namespace>[^_]+)_(?P<name>[^_]+)_(?P<uid>[^_]+)")
#: Where cgroups are mounted, as users copy it from there.
CGROUPS = "/sys/fs/cgroup"


@dataclass(frozen=True)
class ProcessPlace:
    """Where a process lives; "" for what it does not live in, or what is not known.

    Args:
        containers: ids of the containers around it, the outermost first.
        pod_uid: the uid of its pod.
        cgroups: its paths in all hierarchies.
        container_name: what its container is called: by the engine, or in its pod.
        namespace: the namespace of its pod.
        pod: the name of its pod.
        image: the name of the container's image, as the runtime was asked for it.
        image_id: what the runtime knows the image by: its digest, or that of its config.
    """

    containers: tuple[str, ...] = ()
    pod_uid: str = ""
    cgroups: tuple[str, ...] = ()
    container_name: str = ""
    namespace: str = ""
    pod: str = ""
    image: str = ""
    image_id: str = ""

    @property
    def container(self) -> str:
        """The id of the container that it is in."""
        return self.containers[-1] if self.containers else ""

    def as_header(self, node: str) -> dict[str, str]:
        """Return what is known of it, for the header of a trace.

        Args:
            node: the name of the machine.
        """
        known = {
            "node": node,
            "namespace": self.namespace,
            "pod": self.pod,
            "pod_uid": self.pod_uid,
            "container": self.container,
            "container_name": self.container_name,
            "image": self.image,
            "image_id": self.image_id,
        }
        return {name: value for name, value in known.items() if value}

    def in_words(self) -> str:
        """Return where it is: `the pod web/front`, `the container front`, `no container`."""
        if self.pod:
            return f"the pod {self.namespace}/{self.pod}"
        if self.pod_uid:
            return f"the pod with uid {self.pod_uid}"
        if self.container:
            return f"the container {self.container_name or self.container[:_LEAST_DIGITS]}"
        return "no container"


def process_place_of(cgroups: str) -> ProcessPlace:
    """Return what the text of a `/proc/<pid>/cgroup` says (cgroups(7)): of v1, of v2, of both."""
    paths = tuple(dict.fromkeys(line.split(":", 2)[2] for line in cgroups.splitlines() if line))
    containers: tuple[str, ...] = ()
    pod_uid = ""
    for path in paths:
        found = _containers(path)
        if len(found) > len(containers):
            containers = found
        uids = [match["uid"] for part in path.split("/") if (match := _POD.fullmatch(part))]
        pod_uid = pod_uid or (uids[-1].replace("_", "-") if uids else "")
    return ProcessPlace(containers, pod_uid, paths)


def _containers(path: str) -> tuple[str, ...]:
    found = []
    for part in path.split("/"):
        match = _CONTAINER.fullmatch(part)
        if match and not _MONITOR.fullmatch(part) and match["id"] not in found:
            found.append(match["id"])
    return tuple(found)


def named_by_annotations(annotations: Mapping[str, Any]) -> dict[str, str]:
    """Return what a runtime's bundle says of a pod, by the members of `Place`.

    Args:
        annotations: those of its `config.json`, or the labels of a container of Docker's.

    Source: containerd, internal/cri/annotations; CRI-O, internal/factory/container, whose
    `io.kubernetes.cri-o.Labels` are the kubelet's own, as JSON; Kubernetes,
    pkg/kubelet/types/labels.go.
    """
    labels: dict[str, Any] = dict(annotations)
    try:
        more = json.loads(str(annotations.get("io.kubernetes.cri-o.Labels", "{}")))
    except (ValueError, RecursionError):
        more = {}
    labels.update(more if isinstance(more, dict) else {})
    keys = {
        "pod": ("io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"),
        "namespace": ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"),
        "pod_uid": ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"),
        "container_name": ("io.kubernetes.cri.container-name", "io.kubernetes.container.name"),
        "image": ("io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"),
        "image_id": ("io.kubernetes.cri-o.ImageRef",),
    }
    found = {
        member: next((str(labels[key]) for key in known if labels.get(key)), "")
        for member, known in keys.items()
    }
    return {member: value for member, value in found.items() if value}


def named_by_storage(text: str | bytes, container: str) -> dict[str, str]:
    """Return what the storage of Podman's containers says of one, by the members of `Place`.

    Args:
        text: the content of its `containers.json` (containers/storage, containers.go; the metadata
            are Podman's, storage.go).
        container: the id.
    """
    try:
        known = {one["id"]: one for one in json.loads(text)}
        found = known.get(container, {})
        metadata = json.loads(found.get("metadata") or "{}")
        said = {
            "container_name": next(iter(found.get("names") or ()), ""),
            "image": metadata.get("image-name"),
            "image_id": found.get("image"),
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {member: value for member, value in said.items() if value and isinstance(value, str)}


def named_by_logs(uid: str, directories: Sequence[str]) -> dict[str, str]:
    """Return what `/var/log/pods` says of a pod, by the members of `Place`.

    Args:
        uid: the pod's uid.
        directories: names in that directory, `NAMESPACE_NAME_UID`.
    """
    for match in filter(None, map(_LOGS.fullmatch, directories)):
        if uid and match["uid"] == uid:
            return {"namespace": match["namespace"], "pod": match["name"]}
    return {}


def fits(selection: ProcessSelection, place: ProcessPlace) -> bool:
    """Return whether a place is one that is meant."""
    container, pod = selection.container, f"{place.namespace}/{place.pod}"
    ids = [one for one in place.containers if len(container) >= _LEAST_DIGITS]
    return (
        (
            not container
            or place.container_name == container
            or any(one.startswith(container) for one in ids)
        )
        and (not selection.pod or pod == selection.pod)
        and (not selection.pod_uid or place.pod_uid == selection.pod_uid)
        and (not selection.cgroup or _is_within(place.cgroups, selection.cgroup))
    )


def without_mount(path: str) -> str:
    """Return the path of a cgroup without the place where these are mounted."""
    path = path.rstrip("/")
    return path.removeprefix(CGROUPS) if path.startswith(f"{CGROUPS}/") else path


def _is_within(cgroups: Sequence[str], wanted: str) -> bool:
    wanted = without_mount(wanted)
    # In the first version each controller has a hierarchy, mounted below its name.
    forms = {wanted, "/" + wanted[1:].partition("/")[2]} if wanted.count("/") > 1 else {wanted}
    return any(path == one or path.startswith(f"{one}/") for path in cgroups for one in forms)
