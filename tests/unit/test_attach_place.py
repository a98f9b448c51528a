"""What is read of processes that run: who they are, and where the bundle of their container is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from envoyassert.attach.place import said_by_bundle
from envoyassert.attach.session import running_already
from envoyassert.live.place import process_place_of
from envoyassert.live.selection import ProcessSelection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")

ID = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970"
ANNOTATIONS = {
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "shop",
}
#: Mounts a container's root in a mount namespace of its own, and starts a child elsewhere.
RUNTIME = r"""
mount -t tmpfs runtime "$1" && cd "$1" && mkdir -p "$2/rootfs" && mount --bind "$2/rootfs"{,} &&
printf %s "$3" >"$2/config.json" && unshare --mount --propagation=private bash -c '
umount --lazy "$1" && echo $$ && read -r' bash "$1"
exit  # or the child would take this shell's place
"""


def here() -> tuple[str, ...]:
    """The containers that this process is in."""
    return process_place_of(Path("/proc/self/cgroup").read_text()).containers


@contextmanager
def started_by_a_runtime(directory: Path) -> Iterator[int]:
    """A process whose parent alone sees the bundle of a container."""
    bundle = f"io.containerd.runtime.v2.task/k8s.io/{ID}"
    config = json.dumps({"annotations": ANNOTATIONS})
    words = ["unshare", "--mount", "--propagation=private", "bash", "-c", RUNTIME, "bash"]
    with subprocess.Popen(
        [*words, directory, bundle, config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("\n")


def test_bundle_is_found_with_the_process_that_started_the_container(tmp_path):
    with started_by_a_runtime(tmp_path) as pid:
        assert said_by_bundle(pid, (*here(), ID)) == {"pod": "web-0", "namespace": "shop"}


@pytest.mark.parametrize("words", [["-c", ID, "-u", ID], ["-c", "0" * 64]], ids=["its", "other"])
def test_bundle_is_found_with_the_monitor_that_names_it(tmp_path, words):
    bundle = tmp_path / "vfs-containers" / ID / "userdata"
    bundle.mkdir(parents=True)
    (bundle / "config.json").write_text('{"annotations": {"io.container.manager": "libpod"}}')
    metadata = json.dumps({"image-name": "example.test/envoy:1"})
    stored = [{"id": ID, "names": ["front"], "image": "0" * 64, "metadata": metadata}]
    (tmp_path / "vfs-containers" / "containers.json").write_text(json.dumps(stored))
    child = "bash -c 'echo $$ && read -r; exit'; exit"
    with subprocess.Popen(
        ["bash", "-c", child, "conmon", *words, "-b", str(bundle), "-n", "front"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = said_by_bundle(int(process.stdout.readline()), (*here(), ID))
        process.communicate("\n")
    named = {"container_name": "front", "image": "example.test/envoy:1", "image_id": "0" * 64}
    assert found == (named if ID in words else {})


def test_ancestor_in_another_container_is_not_believed(tmp_path):
    with started_by_a_runtime(tmp_path) as pid:
        assert said_by_bundle(pid, (*here(), "0" * 64, ID)) == {}


def test_process_that_has_ended_has_no_bundle(tmp_path):
    with started_by_a_runtime(tmp_path) as pid:
        pass
    assert said_by_bundle(pid, (*here(), ID)) == {}


@contextmanager
def sleeping(program: Path, *wrapper: str) -> Iterator[int]:
    """A process that executes a program, once it does."""
    # It ends with its standard input.
    command = [*wrapper, str(program), "-c", "echo ready; read -r _; exit"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid


@pytest.fixture
def bash(tmp_path: Path) -> Path:
    """A copy of bash under a name that nothing else has."""
    return Path(shutil.copy("/bin/bash", tmp_path / f"ea-{os.getpid()}"))


def running(name: str, uid: int | None = None) -> list[int]:
    return running_already(ProcessSelection(name, uid=uid))


def test_running_process_is_found_by_the_link_that_was_executed_and_by_its_file(bash):
    link = bash.with_name(f"{bash.name}-link")
    link.symlink_to(bash)
    with sleeping(link) as pid:
        for name in (link.name, str(link), bash.name, str(bash)):
            assert running(name) == [pid], name
        assert running(f"{bash.name}-other") == []


def test_running_process_is_found_once_its_file_was_replaced(bash):
    with sleeping(bash) as pid:
        bash.unlink()
        assert running(bash.name) == [pid]


def test_user_of_a_running_process_is_the_real_one(bash):
    real = ("setpriv", "--ruid=65534")
    bash.parent.chmod(0o755)
    with sleeping(bash, *real) as pid:
        assert running(bash.name, uid=65534) == [pid]
        assert running(bash.name, uid=0) == []
