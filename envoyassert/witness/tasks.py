"""Which threads a running process has, where they wait, and who else has its sockets.

A thread that waits for events shows the descriptor of its epoll as the first argument of the call
that it is in (proc(5), /proc/<pid>/task/<tid>/syscall). One that runs at that instant shows
nothing, so it is asked again.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from envoyassert.accounts import OtherHolder, WitnessProcess, WitnessThread

#: epoll_wait, epoll_pwait and epoll_pwait2 by architecture (asm/unistd.h).
_WAITS = {"x86_64": ("232", "281", "441"), "aarch64": ("22", "441")}
#: How often a thread is asked that is in no such call, and how long in between. A worker that is
#: busy waits for less than this after each round of its events.
_TRIES, _PAUSE_S = 200, 0.002
_WORKER = "wrk:worker_"
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")


def ask_tasks(pids: Collection[int]) -> tuple[WitnessProcess, ...]:
    """Return what there is to know of processes; one that has ended is left out."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            status = _status(pid)
            parent = int(status["PPid"])
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
            found.append(
                WitnessProcess(
                    pid,
                    parent if parent in pids else None,
                    os.readlink(f"/proc/{pid}/exe"),  # noqa: PTH115 - a link of its own root
                    tuple(map(os.fsdecode, argv)),
                    int(status.get("NSpid", str(pid)).split()[-1]),
                )
            )
    return tuple(found)


def ask_threads(pids: Collection[int]) -> tuple[WitnessThread, ...]:
    """Return the threads of processes, with the epoll that each was seen to wait on."""
    seen: dict[tuple[int, int], int] = {}
    names: dict[tuple[int, int], str] = {}
    for _ in range(_TRIES):
        names = names_of(pids)
        for pid, tid in names.keys() - seen.keys():
            epfd = _waits_on(pid, tid)
            if epfd is not None:
                seen[pid, tid] = epfd
        # Other threads may wait for something else for ever.
        if all(task in seen for task, name in names.items() if _is_of_events(task, name)):
            break
        time.sleep(_PAUSE_S)
    return tuple(
        WitnessThread(pid, tid, name, seen.get((pid, tid)))
        for (pid, tid), name in sorted(names.items())
    )


def _is_of_events(task: tuple[int, int], name: str) -> bool:
    """Whether a thread waits for events by its part: main, and the workers."""
    return task[0] == task[1] or name.startswith(_WORKER)


def names_of(pids: Collection[int]) -> dict[tuple[int, int], str]:
    """Return the names of all threads of processes, by process and thread."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    name = (task / "comm").read_text("utf-8", "backslashreplace")
                    found[pid, int(task.name)] = name.removesuffix("\n")
    return found


def _waits_on(pid: int, tid: int) -> int | None:
    """Return the descriptor of the epoll that a thread waits on now, None if it does not."""
    try:
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text("ascii").split()
    except OSError:
        return None
    if not words or words[0] not in _WAITS.get(platform.machine(), ()):
        return None
    return int(words[1], 16)


def ask_holders(inodes: Collection[int], pids: Collection[int]) -> tuple[OtherHolder, ...]:
    """Return the processes that have one of these sockets and are none of these processes."""
    found: dict[tuple[int, int], OtherHolder] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names alone, of what may vanish any time
        if not entry.isdecimal() or int(entry) in pids or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{entry}/fd"):  # noqa: PTH208 - names alone
                with contextlib.suppress(OSError):
                    target = os.readlink(f"/proc/{entry}/fd/{fd}")  # noqa: PTH115 - no path
                    link = _SOCKET_LINK.fullmatch(target)
                    if link and int(link[1]) in inodes:
                        name = Path(f"/proc/{entry}/comm").read_text("utf-8", "backslashreplace")
                        key = (int(link[1]), int(entry))
                        found[key] = OtherHolder(*key, name.removesuffix("\n"))
    return tuple(found[key] for key in sorted(found))


def _status(pid: int) -> Mapping[str, str]:
    text = Path(f"/proc/{pid}/status").read_text("utf-8", "backslashreplace")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
