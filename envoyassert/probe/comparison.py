"""A selection in the form in which the kernel compares it with a process at its exec."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from envoyassert.frozen import frozen
from envoyassert.live.selection import ProcessSelection
from envoyassert.wire import TEXT_SIZE, ArmedSelection

#: TASK_COMM_LEN of linux/sched.h, without the zero at the end.
_COMM_LENGTH = 15
#: What one text of a selection may hold, with a slash and a zero around it.
_LONGEST = TEXT_SIZE - 2


@frozen
class Comparison:
    """What the kernel compares.

    Args:
        record: all but the texts.
        executable: what the path must end with; empty if the name of the process says it all.
        variables: what the environment must hold, each.
    """

    record: ArmedSelection
    executable: bytes
    variables: tuple[bytes, ...]


def comparison(selection: ProcessSelection, records: int) -> Comparison:
    """Return what the kernel compares a process with.

    The container and the pod are not compared. The cgroup is where it is one of version 2 that
    exists, and no hierarchy of version 1 has one of the same path.

    Args:
        selection: which processes.
        records: how many each run may have.

    Raises:
        ValueError: a text is empty or too long, or a variable has no `=`.
    """
    exe = os.fsencode(selection.exe)
    name = exe.rpartition(b"/")[2]
    if len(exe) > _LONGEST:
        raise ValueError(f"an executable has at most {_LONGEST} bytes, not {len(exe)}")
    if not name:
        raise ValueError(f"an executable has a name, unlike {selection.exe!r}")
    record = ArmedSelection(armed=1, records=records)
    record.comm = name[:_COMM_LENGTH]
    record.comm_mask = b"\xff" * (_COMM_LENGTH + 1)
    record.is_path = b"/" in exe
    if not record.is_path:
        # A name that fills the process's may have been cut there.
        exe = b"/" + name if len(name) >= _COMM_LENGTH else b""
    record.exe_size = len(exe)
    if selection.uid is not None:
        record.uid, record.uid_mask = selection.uid, 0xFFFFFFFF
    place = place_in_hierarchy(selection.cgroup) if selection.cgroup else None
    if place is not None:
        record.cgroup, record.cgroup_level = place
    return Comparison(record, exe, tuple(_variable(text) for text in selection.env))


def _variable(text: str) -> bytes:
    encoded = os.fsencode(text)
    if b"=" not in encoded[1:]:
        raise ValueError(f"a variable is KEY=VALUE, not {text!r}")
    if len(encoded) > _LONGEST:
        raise ValueError(f"a variable has at most {_LONGEST} bytes, not {len(encoded)}: {text!r}")
    return encoded


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
