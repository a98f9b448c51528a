"""Entering a root tree: in a mount namespace of its own, with nothing left on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from envoyassert.launch.kernel import wait_readable
from envoyassert.launch.processes import and_descendants
from tests.distros.tree import Inside, Tree

ROOT = Path(__file__).resolve().parents[2]


def mounts_below(path: Path) -> list[str]:
    """Return what this machine has mounted below a path."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if str(path) in line]


@pytest.fixture
def inside(tmp_path):
    """What the tree is given: the programs of this machine, and a folder to write to."""
    place = tmp_path / "place"
    place.mkdir()
    return Inside({"WORD": "two words"}, {"/usr": "/usr", str(place): "/place"})


@pytest.fixture
def tree(tmp_path):
    """A root tree that has no programs of its own."""
    path = tmp_path / "a tree"
    for name in ("proc", "sys", "dev", "run", "tmp", "usr", "root"):
        (path / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path(f"/{name}").is_symlink():
            (path / name).symlink_to(Path(f"/{name}").readlink())
    return Tree(path)


def test_command_sees_the_tree_and_what_it_is_given(tree, inside, tmp_path):
    script = 'echo "$PWD $WORD $HOME" >/place/said; ls / >/place/root; exit 7'
    assert tree.run(["sh", "-c", script], inside, "/root") == 7
    assert (tmp_path / "place/said").read_text() == "/root two words /root\n"
    assert (tmp_path / "place/root").read_text().split() == sorted(
        path.name for path in tree.path.iterdir()
    )
    assert mounts_below(tmp_path) == []


def test_user_namespace_can_be_made_in_a_tree(tree, inside):
    """The kernel refuses it to a process in a chroot; strace without root needs one."""
    assert tree.run(["unshare", "--user", "true"], inside) == 0


def test_killed_runner_leaves_no_process_and_no_mount(tree, inside, tmp_path):
    os.mkfifo(tmp_path / "place/ready")
    program = f"""
from pathlib import Path
from tests.distros.tree import Inside, Tree

script = "setsid sh -c 'echo >/place/ready; exec tail -f /dev/null' & tail -f /dev/null"
Tree(Path({str(tree.path)!r})).run(["sh", "-c", script], {inside!r})
"""
    # The pipe is open in all of them: at its end they are gone.
    runner = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    with runner, (tmp_path / "place/ready").open():
        below = [os.pidfd_open(pid) for pid in and_descendants(runner.pid)]
        runner.kill()
        assert runner.communicate(timeout=50)[0] == b""
    assert len(below) > 3
    assert [wait_readable(pidfd, 20) for pidfd in below] == [True] * len(below)
    for pidfd in below:
        os.close(pidfd)
    assert mounts_below(tmp_path) == []
