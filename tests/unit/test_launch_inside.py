"""Files below another root: found where they are for whoever lives there, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envoyassert.addresses import Address
from envoyassert.driver.client import Client
from envoyassert.driver.replace_file import ReplaceFileDriver
from envoyassert.launch.admin import connect_admin
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.inside import (
    make_directories,
    open_regular,
    proc_root,
    read_inside,
    replace_inside,
    write_inside,
)
from envoyassert.launch.limits import hand_over
from envoyassert.launch.namespace import in_netns_of
from envoyassert.launch.rundir import write_files
from envoyassert.launch.running import NamespacedEnvoy
from envoyassert.steps.base import StepProblem
from envoyassert.steps.replace_file import ReplaceFile, ReplaceFileStep

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give another root")

#: The last word of a path whose file a test would notice to be touched.
MARKER = "marker"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that nothing here may change."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / MARKER).write_text("as it was")
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


@pytest.fixture
def pid(root: Path) -> Iterator[int]:
    """A process whose root directory is `root`."""
    code = "import os, sys; os.chroot(sys.argv[1]); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process.pid


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A Unix socket that listens at a path of any length."""
    directory = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{directory}/{path.name}")
            made.listen()
            made.settimeout(0)
            yield made
    finally:
        os.close(directory)


def is_unasked(server: socket.socket) -> bool:
    """Whether no client connected."""
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return True
    return False


def unchanged(outside: Path) -> bool:
    names = [one.name for one in outside.iterdir()]
    return (outside / MARKER).read_text() == "as it was" and names == [MARKER]


def step(path: str) -> ReplaceFileStep:
    parsed = ReplaceFile.model_construct(path=path, content="new")
    return ReplaceFileStep.model_construct(replace_file=parsed)


@needs_root
@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_step_follows_no_link_out_of_the_process_s_root(
    pid: int, root: Path, outside: Path, way: str
) -> None:
    (root / "dir").symlink_to(outside if way == "absolute" else Path("..") / outside.name)
    envoy: Any = SimpleNamespace(pid=pid)
    with pytest.raises(StepProblem, match=r"^/dir/marker cannot be written: No such file"):
        ReplaceFileDriver(envoy).carry_out(step(f"/dir/{MARKER}"), 1.0)
    assert unchanged(outside)


@needs_root
def test_step_follows_a_link_where_it_leads_in_the_process_s_root(pid: int, root: Path) -> None:
    (root / "data").mkdir()
    (root / "dir").symlink_to("/data")
    (root / "data" / "file").symlink_to("..2026/file")  # as in a mounted ConfigMap
    envoy: Any = SimpleNamespace(pid=pid)
    ReplaceFileDriver(envoy).carry_out(step("/dir/file"), 1.0)
    assert (root / "data" / "file").read_text() == "new"
    assert not (root / "data" / "file").is_symlink()
    assert [one.name for one in (root / "data").iterdir()] == ["file"]


def test_replaced_link_is_replaced_and_what_it_leads_to_is_not(root: Path, outside: Path) -> None:
    (root / "file").symlink_to(outside / MARKER)
    replace_inside(root, "/file", "new")
    assert (root / "file").read_text() == "new"
    assert unchanged(outside)


def test_temporary_file_cannot_be_laid_out_beforehand(root: Path, outside: Path) -> None:
    (root / ".file.new").symlink_to(outside / MARKER)
    replace_inside(root, "file", "new")
    assert unchanged(outside)


@needs_root
@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_client_follows_no_link_out_of_the_process_s_root(
    pid: int, root: Path, outside: Path, way: str
) -> None:
    with listening(outside / "s") as server:
        target = outside / "s" if way == "absolute" else Path("..") / outside.name / "s"
        (root / "s").symlink_to(target)
        with Client("UNIX", Address.unix("/s"), proc_root(pid)) as client:
            attempt = client.attempt(lambda make, _: make(), None, time.monotonic() + 5)
        assert (attempt.ok, attempt.errno) == (False, "ENOENT")
        assert is_unasked(server)


@needs_root
def test_client_of_a_relative_path_goes_where_the_process_works(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outside)
    here = proc_root(os.getpid(), "s")
    with listening(outside / "s"), Client("UNIX", Address.unix("s"), here) as client:
        assert client.attempt(lambda make, _: make(), None, time.monotonic() + 5).ok


@needs_root
def test_client_reaches_what_a_link_leads_to_in_the_process_s_root(pid: int, root: Path) -> None:
    (root / "run").mkdir()
    (root / "var").symlink_to("/run")
    with (
        listening(root / "run" / "s") as server,
        Client("UNIX", Address.unix("/var/s"), proc_root(pid)) as client,
    ):
        assert client.attempt(lambda make, _: make(), None, time.monotonic() + 5).ok
        assert not is_unasked(server)


@needs_root
def test_admin_socket_follows_no_link_out_of_the_process_s_root(
    pid: int, root: Path, outside: Path
) -> None:
    with listening(outside / "s") as server:
        (root / "s").symlink_to(outside / "s")
        with pytest.raises(FileNotFoundError):
            connect_admin(Address.unix("/s"), proc_root(pid), 1.0)
        assert is_unasked(server)


class Started(NamespacedEnvoy):
    """An Envoy of which nothing is there but its process."""

    def __init__(self, pid: int) -> None:
        spec = LaunchSpec(EnvoySource(version="1.40.0"), "", admin=Address.inet("127.0.0.1", 0))
        super().__init__(spec, "/", "/admin.address")
        self._pid = pid

    @property
    def started_pid(self) -> int:
        return self._pid

    # What is abstract, and not called here.
    identity = in_netns = exited = stop = log = None  # type: ignore[assignment]


@needs_root
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_admin_address_is_read_from_a_file_of_the_process_s_root(
    pid: int, root: Path, outside: Path, kind: str
) -> None:
    (outside / "address").write_text("127.0.0.1:1")
    place = root / "admin.address"
    place.symlink_to(outside / "address") if kind == "link" else os.mkfifo(place)
    with pytest.raises(OSError, match="the admin port is not known yet"):
        Started(pid).admin_get("/ready")


@needs_root
@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_network_namespace_is_entered_by_a_file_of_the_process_s_root(
    pid: int, root: Path, outside: Path, kind: str
) -> None:
    place = root / "netns"
    if kind == "link":
        place.symlink_to("/proc/self/ns/net")
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.write_text("no namespace")
    with pytest.raises(OSError, match=r"No such file|not a regular file|Invalid argument"):
        in_netns_of(pid, "/netns", lambda: None)


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
def test_what_is_no_regular_file_is_neither_read_nor_written_nor_replaced(
    root: Path, kind: str
) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "fifo":
            os.mkfifo(root / "x")
        elif kind == "socket":
            stack.enter_context(listening(root / "x"))
        else:
            (root / "x").mkdir()
        before = (root / "x").stat()
        for refused in (
            lambda: read_inside(root, "x", 10),
            lambda: write_inside(root, "x", "text"),
            lambda: replace_inside(root, "x", "text"),
        ):
            with pytest.raises(OSError, match="not a regular file"):
                refused()
        after = (root / "x").stat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        assert [one.name for one in root.iterdir()] == ["x"]


def test_device_is_refused_and_not_opened() -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_inside("/", "/dev/null", 1)


def test_link_of_proc_is_refused(outside: Path) -> None:
    way = f"/proc/{os.getpid()}/cwd/x"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular("/", way)


def test_run_directory_s_files_are_written_inside_it(root: Path, outside: Path) -> None:
    (root / "dir").symlink_to(outside)
    (root / "file").symlink_to(outside / MARKER)
    for name in ("dir/marker", "file"):
        with pytest.raises(Exception, match="cannot be written"):
            write_files(root, {name: "new"})
    assert unchanged(outside)
    write_files(root, {"a/b/c": "text"})
    assert (root / "a" / "b" / "c").read_text() == "text"
    write_files(root, {"a/b/c": "new"})
    assert (root / "a" / "b" / "c").read_text() == "new"


def test_file_that_has_another_name_outside_is_not_written(root: Path, outside: Path) -> None:
    (root / "file").hardlink_to(outside / MARKER)
    with pytest.raises(OSError, match="another name"):
        write_inside(root, "file", "new")
    assert unchanged(outside)


def test_directories_are_made_inside_and_what_is_in_the_way_is_said(
    root: Path, outside: Path
) -> None:
    make_directories(root, "a/b")
    make_directories(root, "/a/b/c")
    assert (root / "a" / "b" / "c").is_dir()
    (root / "out").symlink_to(outside)
    (root / "file").touch()
    for path, why in (("out/new", "No such file"), ("file", "Not a directory")):
        with pytest.raises(OSError, match=why):
            make_directories(root, path)
    assert unchanged(outside)


@needs_root
def test_directory_is_handed_over_and_nothing_outside_it() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        root, marker = Path(place, "root"), Path(place, MARKER)
        root.parent.chmod(0o755)
        (root / "deep").mkdir(parents=True)
        (root / "deep" / "own").touch()
        marker.touch()
        (root / "link").symlink_to(marker)
        (root / "same").hardlink_to(marker)
        hand_over(root, 1337)
        handed = [root, root / "deep", root / "deep" / "own"]
        assert [one.stat().st_uid for one in handed] == [1337] * 3
        assert marker.stat().st_uid == 0
