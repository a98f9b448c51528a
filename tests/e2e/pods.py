"""Pods without a cluster: a containerd of the tests' own, driven as the kubelet drives it.

The messages are what a pod needs of the container runtime interface (Kubernetes, cri-api,
pkg/apis/runtime/v1/api.proto; the field numbers are those of that file).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import textwrap
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "runtime.v1"
_SERVICE = f"/{_PACKAGE}.RuntimeService"
#: Where Debian's containernetworking-plugins are.
_PLUGINS = "/usr/lib/cni"
_DEADLINE_S = 30.0
#: NamespaceMode.POD: a network namespace that the pod's containers share.
_POD = 0

_STRING, _NUMBER = "TYPE_STRING", "TYPE_INT32"
#: Number and type of each field that is used; `*` is a list of strings, `=` a map of them.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "PodSandboxMetadata": {
        "name": (1, _STRING),
        "uid": (2, _STRING),
        "namespace": (3, _STRING),
    },
    "NamespaceOption": {"network": (1, _NUMBER)},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption")},
    "LinuxPodSandboxConfig": {
        "cgroup_parent": (1, _STRING),
        "security_context": (2, "LinuxSandboxSecurityContext"),
    },
    "PodSandboxConfig": {
        "metadata": (1, "PodSandboxMetadata"),
        "log_directory": (3, _STRING),
        "linux": (8, "LinuxPodSandboxConfig"),
    },
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, _STRING)},
    "ContainerMetadata": {"name": (1, _STRING)},
    "ImageSpec": {"image": (1, _STRING)},
    "LinuxContainerConfig": {},
    "ContainerConfig": {
        "metadata": (1, "ContainerMetadata"),
        "image": (2, "ImageSpec"),
        "args": (4, "*"),
        "log_path": (11, _STRING),
        "linux": (15, "LinuxContainerConfig"),
    },
    "CreateContainerRequest": {
        "pod_sandbox_id": (1, _STRING),
        "config": (2, "ContainerConfig"),
        "sandbox_config": (3, "PodSandboxConfig"),
    },
    "CreateContainerResponse": {"container_id": (1, _STRING)},
    "StartContainerRequest": {"container_id": (1, _STRING)},
    "StartContainerResponse": {},
    "ContainerStatusRequest": {"container_id": (1, _STRING), "verbose": (2, _NUMBER)},
    "ContainerStatusResponse": {"info": (2, "=")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, _STRING)},
    "StopPodSandboxResponse": {},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, _STRING)},
    "RemovePodSandboxResponse": {},
}

#: What a pod's first process does, which holds its namespaces.
_PAUSE = """
#include <signal.h>
#include <unistd.h>

static void end(int number)
{
	_exit(number != SIGTERM);
}

int main(void)
{
	signal(SIGTERM, end);
	for (;;)
		pause();
}
"""
_PAUSE_IMAGE = "localhost/envoyassert-test-pause:1"


@dataclass(frozen=True)
class Pod:
    """A pod with one container that runs.

    Args:
        namespace: its namespace in Kubernetes.
        name: its name there.
        uid: what Kubernetes knows it by.
        sandbox: the runtime's id of the pod.
        container: the runtime's id of the container.
        pid: the container's first process, as seen from here.
    """

    namespace: str
    name: str
    uid: str
    sandbox: str
    container: str
    pid: int


class Runtime:
    """A containerd with its own socket, images and state; made by `container_runtime`."""

    def __init__(self, channel: grpc.Channel, root: Path) -> None:
        self._channel = channel
        self._messages = _message_classes()
        self._root = root

    @contextlib.contextmanager
    def pod(self, namespace: str, name: str, image: str, args: Sequence[str]) -> Iterator[Pod]:
        """Run a pod of one container, and remove it afterwards."""
        uid = str(uuid.uuid4())
        config = {
            "metadata": {"name": name, "uid": uid, "namespace": namespace},
            "log_directory": str(self._root / "pods" / f"{namespace}_{name}_{uid}"),
            "linux": {
                "cgroup_parent": f"/kubepods/burstable/pod{uid}",
                "security_context": {"namespace_options": {"network": _POD}},
            },
        }
        sandbox = self._call("RunPodSandbox", config=config).pod_sandbox_id
        try:
            container = {
                "metadata": {"name": "proxy"},
                "image": {"image": image},
                "args": list(args),
                "log_path": "proxy.log",
                "linux": {},
            }
            created = self._call(
                "CreateContainer", pod_sandbox_id=sandbox, config=container, sandbox_config=config
            )
            container_id = created.container_id
            self._call("StartContainer", container_id=container_id)
            status = self._call("ContainerStatus", container_id=container_id, verbose=1)
            pid = json.loads(status.info["info"])["pid"]
            yield Pod(namespace, name, uid, sandbox, container_id, pid)
        finally:
            self._call("StopPodSandbox", pod_sandbox_id=sandbox)
            self._call("RemovePodSandbox", pod_sandbox_id=sandbox)

    def _call(self, method: str, **fields: Any) -> Any:
        call = self._channel.unary_unary(
            f"{_SERVICE}/{method}",
            request_serializer=self._messages[f"{method}Request"].SerializeToString,
            response_deserializer=self._messages[f"{method}Response"].FromString,
        )
        request = self._messages[f"{method}Request"](**fields)
        return call(request, timeout=_DEADLINE_S, wait_for_ready=True)


@contextlib.contextmanager
def container_runtime(root: Path, images: Sequence[str]) -> Iterator[Runtime]:
    """Run a containerd that serves the container runtime interface, with images of Docker's.

    Args:
        root: an empty directory, for all that it writes.
        images: names of images that Docker has.
    """
    socket = root / "containerd.sock"
    (root / "cni").mkdir()
    (root / "cni" / "10-pod.conflist").write_text(json.dumps(_network(root)))
    (root / "config.toml").write_text(_config(root, socket))
    _build_pause(root)
    with (root / "containerd.log").open("wb") as log:
        process = subprocess.Popen(
            ["containerd", "--config", str(root / "config.toml")], stdout=log, stderr=log
        )
    try:
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            grpc.channel_ready_future(channel).result(_DEADLINE_S)
            _import(socket, (_PAUSE_IMAGE, *images))
            yield Runtime(channel, root)
    finally:
        process.terminate()
        process.wait(_DEADLINE_S)


def _config(root: Path, socket: Path) -> str:
    # Lower scores than its own are refused to whoever lacks CAP_SYS_RESOURCE.
    return textwrap.dedent(
        f"""
        version = 2
        root = "{root}/root"
        state = "{root}/state"
        [grpc]
          address = "{socket}"
        [plugins."io.containerd.internal.v1.opt"]
          path = "{root}/opt"
        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = "{_PAUSE_IMAGE}"
          restrict_oom_score_adj = true
          disable_apparmor = true
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "{_PLUGINS}"
            conf_dir = "{root}/cni"
        """
    )


def _network(root: Path) -> dict[str, Any]:
    """Return the configuration of a pod's network: a pair of interfaces, no way out."""
    addresses = {
        "type": "host-local",
        "subnet": "10.213.7.0/24",
        "dataDir": str(root / "addresses"),
    }
    ptp = {"type": "ptp", "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pod", "plugins": [ptp]}


def _build_pause(root: Path) -> None:
    directory = root / "pause"
    directory.mkdir()
    (directory / "pause.c").write_text(_PAUSE)
    (directory / "Dockerfile").write_text(
        'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n'
    )
    compile_ = ["g++", "-xc", "-static", "-O1", "-o", "pause", "pause.c"]
    subprocess.run(compile_, cwd=directory, check=True)
    build = ["docker", "build", "--quiet", "--tag", _PAUSE_IMAGE, "."]
    subprocess.run(build, cwd=directory, check=True, capture_output=True)


def _import(socket: Path, images: Sequence[str]) -> None:
    archive = socket.parent / "images.tar"
    subprocess.run(["docker", "save", "--output", str(archive), *images], check=True)
    client = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
    subprocess.run([*client, "images", "import", str(archive)], check=True, capture_output=True)
    archive.unlink()


def _message_classes() -> dict[str, Any]:
    """Return the class of each message by its name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="envoyassert/tests/cri.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number, label=proto.LABEL_OPTIONAL)
    if kind in (_STRING, _NUMBER):
        field.type = proto.Type.Value(kind)
    elif kind == "*":
        field.type, field.label = proto.TYPE_STRING, proto.LABEL_REPEATED
    elif kind == "=":
        entry = message.nested_type.add(name="".join(map(str.title, name.split("_"))) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, _STRING)
        _add_field(entry, "value", 2, _STRING)
        field.type, field.label = proto.TYPE_MESSAGE, proto.LABEL_REPEATED
        field.type_name = f".{_PACKAGE}.{message.name}.{entry.name}"
    else:
        field.type = proto.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
