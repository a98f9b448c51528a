"""A selection in the form in which the kernel compares it with a process at its exec."""

from __future__ import annotations

import os

from envoyassert.live.selection import Selection
from envoyassert.probe.control_groups import place_in_hierarchy
from envoyassert.wire import ArmedSelection

#: TASK_COMM_LEN of linux/sched.h, without the zero at the end.
_COMM_LENGTH = 15
#: What one text of a selection may hold: EA_TEXT_SIZE of bpf/events.h, with a slash and a zero.
_LONGEST = ArmedSelection.exe.size - 2


def comparison(selection: Selection) -> ArmedSelection:
    """Return what the kernel compares a process with, but for the variables.

    The container and the pod are not compared. The cgroup is where it is one of version 2 that
    exists, and no hierarchy of version 1 has one of the same path.

    Raises:
        ValueError: a text is empty or too long, or a variable has no `=`.
    """
    exe = os.fsencode(selection.exe)
    if len(exe) > _LONGEST:
        raise ValueError(f"an executable has at most {_LONGEST} bytes, not {len(exe)}")
    for text in selection.env:
        size = len(os.fsencode(text))
        if not text.partition("=")[1] or text.startswith("="):
            raise ValueError(f"a variable is KEY=VALUE, not {text!r}")
        if size > _LONGEST:
            raise ValueError(f"a variable has at most {_LONGEST} bytes, not {size}: {text!r}")
    wanted = ArmedSelection(armed=1)
    name = exe.rpartition(b"/")[2]
    if not name:
        raise ValueError(f"an executable has a name, unlike {selection.exe!r}")
    wanted.comm = name[:_COMM_LENGTH]
    wanted.comm_mask = b"\xff" * (_COMM_LENGTH + 1)
    if b"/" in exe:
        wanted.exe, wanted.exe_size, wanted.is_path = exe, len(exe), 1
    elif len(name) >= _COMM_LENGTH:
        wanted.exe, wanted.exe_size = b"/" + name, len(name) + 1
    if selection.uid is not None:
        wanted.uid, wanted.uid_mask = selection.uid, 0xFFFFFFFF
    place = place_in_hierarchy(selection.cgroup) if selection.cgroup else None
    if place is not None:
        wanted.cgroup, wanted.cgroup_level = place
    return wanted
