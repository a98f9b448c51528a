"""Where a cgroup is in the hierarchy of version 2, in the numbers that the kernel compares."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_MOUNTS = Path("/proc/self/mountinfo")


def place_in_hierarchy(path: str, mounts: Path = _MOUNTS) -> tuple[int, int] | None:
    """Return the id of a cgroup of version 2 and how far it is below the root.

    The id is the inode number of its directory (kernfs of the kernel, on machines of 64 bits).

    Args:
        path: the cgroup, from the root of its hierarchy: `/system.slice/envoy.service`.
        mounts: the mounts of this process, as proc_pid_mountinfo(5) has them.

    Returns:
        Id and level; None if no hierarchy of version 2 has it, or one of version 1 has a cgroup of
        that path too: then only the caller can say which is meant.
    """
    found = None
    for line in mounts.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split()[0]
        if kind not in ("cgroup", "cgroup2"):
            continue
        _, _, _, root, point, *_ = before.split()
        parts = [part for part in PurePosixPath(path).parts if part != "/"]
        directory = Path(point, *parts)
        if not directory.is_dir():
            continue
        if kind == "cgroup" or root != "/" or ".." in parts:
            return None
        found = directory.stat().st_ino, len(parts)
    return found
