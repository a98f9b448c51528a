"""What of a selection the kernel compares, and where it can look for a cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from envoyassert.live.selection import ProcessSelection
from envoyassert.probe.comparison import comparison, place_in_hierarchy


@pytest.mark.parametrize(
    "exe, comm, compared, is_path",
    [
        ("envoy", b"envoy", b"", 0),
        ("fourteen-bytes", b"fourteen-bytes", b"", 0),
        ("fifteen-bytes-x", b"fifteen-bytes-x", b"/fifteen-bytes-x", 0),
        ("longer-than-a-comm", b"longer-than-a-c", b"/longer-than-a-comm", 0),
        ("/usr/local/bin/envoy", b"envoy", b"/usr/local/bin/envoy", 1),
        ("./envoy", b"envoy", b"./envoy", 1),
    ],
)
def test_name_that_fits_is_compared_alone_and_all_else_by_the_path(exe, comm, compared, is_path):
    wanted = comparison(ProcessSelection(exe), 7)
    record = wanted.record

    assert (record.comm, wanted.executable, record.exe_size) == (comm, compared, len(compared))
    assert (record.is_path, record.uid_mask, record.cgroup, record.records) == (is_path, 0, 0, 7)


def test_user_0_is_a_user():
    record = comparison(ProcessSelection(uid=0), 1).record

    assert (record.uid, record.uid_mask) == (0, 0xFFFFFFFF)


def mounts(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text("".join(f"30 1 0:26 {line}\n" for line in lines))
    return path


def test_cgroup_is_found_by_inode_and_level(tmp_path):
    inner = tmp_path / "v2" / "a.slice" / "b.scope"
    inner.mkdir(parents=True)
    found = mounts(tmp_path, f"/ {tmp_path}/v2 rw - cgroup2 none rw", "/ / rw - ext4 none rw")

    assert place_in_hierarchy("/a.slice/b.scope", found) == (inner.stat().st_ino, 2)
    assert place_in_hierarchy("a.slice/", found) == (inner.parent.stat().st_ino, 1)
    assert place_in_hierarchy("/", found) == ((tmp_path / "v2").stat().st_ino, 0)
    assert place_in_hierarchy("/missing", found) is None
    assert place_in_hierarchy("/a.slice/../a.slice", found) is None


def test_cgroup_that_version_1_has_too_or_that_is_below_an_unknown_root_is_not_compared(tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name / "a").mkdir(parents=True)
    old, new = (f"{tmp_path}/v1 rw - cgroup none rw,pids", f"{tmp_path}/v2 rw - cgroup2 none rw")

    assert place_in_hierarchy("/a", mounts(tmp_path, f"/ {old}", f"/ {new}")) is None
    assert place_in_hierarchy("/a", mounts(tmp_path, f"/docker/1 {new}")) is None
    (tmp_path / "v1" / "a").rmdir()
    assert place_in_hierarchy("/a", mounts(tmp_path, f"/ {old}", f"/ {new}")) is not None
