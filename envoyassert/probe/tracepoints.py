"""The named tracepoints: whether tracefs is there, and where the running kernel puts the fields."""

from __future__ import annotations

import os
import re
from pathlib import Path

from envoyassert.errors import ProbeUnavailableError

TRACEFS = Path("/sys/kernel/tracing")
DEBUGFS = Path("/sys/kernel/debug")
_ROOTS = (TRACEFS, DEBUGFS / "tracing")
MOUNT_REMEDY = "mount it: mount -t tracefs nodev /sys/kernel/tracing"

#: Macro: tracepoint, field, size in bytes that the program reads.
_FIELDS: dict[str, tuple[str, str, int]] = {
    "EA_AT_FORK_CHILD_PID": ("sched/sched_process_fork", "child_pid", 4),
    "EA_AT_SIGNAL_NUMBER": ("signal/signal_deliver", "sig", 4),
    "EA_AT_SIGNAL_HANDLER": ("signal/signal_deliver", "sa_handler", 8),
    "EA_AT_RENAME_TID": ("task/task_rename", "pid", 4),
    "EA_AT_RENAME_NAME": ("task/task_rename", "newcomm", 16),
    "EA_AT_EPOLL_EPFD": ("syscalls/sys_enter_epoll_wait", "epfd", 8),
}

#: Waits on an epoll instance; all have the descriptor in the same place. pwait2 is Linux 5.11.
EPOLL_WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")

_FIELD = re.compile(r"\bfield:.*?(\w+)(?:\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);")


def tracefs_dir() -> Path:
    """Return where tracefs is mounted.

    Raises:
        ProbeUnavailableError: nowhere, or it may not be read.
    """
    for root in _ROOTS:
        # Not is_dir(), which raises where a directory above may not be entered.
        if os.access(root / "events" / "sched", os.R_OK | os.X_OK):
            return root
    if os.path.ismount(_ROOTS[0]):
        raise ProbeUnavailableError(
            f"tracefs is mounted at {_ROOTS[0]}, and user id {os.geteuid()} may not read it",
            f"run as root (sudo), or let this user in: mount -o remount,mode=755 {_ROOTS[0]}",
        )
    raise ProbeUnavailableError("tracefs is not mounted, or not readable", MOUNT_REMEDY)


def parse_format(text: str) -> dict[str, tuple[int, int]]:
    """Return (offset, size) in bytes per field of a tracepoint's format file."""
    return {
        found.group(1): (int(found.group(2)), int(found.group(3)))
        for found in _FIELD.finditer(text)
    }


def field_offsets() -> dict[str, int]:
    """Return the macros `EA_AT_<tracepoint>_<field>` that the program is compiled with.

    Raises:
        ProbeUnavailableError: this kernel lacks a tracepoint or has it in another form.
    """
    events = tracefs_dir() / "events"
    formats: dict[str, dict[str, tuple[int, int]]] = {}
    offsets = {}
    for macro, (usual, name, size) in _FIELDS.items():
        tracepoint = usual
        if usual.endswith("epoll_wait") and not (events / usual).is_dir():
            # arm64 has only the newer calls.
            tracepoint = usual.replace("epoll_wait", "epoll_pwait")
        if tracepoint not in formats:
            try:
                text = (events / tracepoint / "format").read_text()
            except FileNotFoundError:
                option = "FTRACE_SYSCALLS" if tracepoint.startswith("syscalls/") else "TRACEPOINTS"
                raise ProbeUnavailableError(
                    f"this kernel has no tracepoint {tracepoint.replace('/', ':')}",
                    f"use a kernel with CONFIG_{option}, as all distributions' are",
                ) from None
            formats[tracepoint] = parse_format(text)
        offset, found = formats[tracepoint].get(name, (0, 0))
        if found != size:
            raise ProbeUnavailableError(
                f"field {name} of tracepoint {tracepoint.replace('/', ':')} has {found} bytes, "
                f"expected {size}",
                "report this kernel's release; the probe must learn the new form",
            )
        offsets[macro] = offset
    return offsets


def named_hooks() -> list[tuple[str, str]]:
    """Return (tracepoint as `category:name`, function of the program) for every named tracepoint.

    Raises:
        ProbeUnavailableError: tracefs is not mounted.
    """
    syscalls = tracefs_dir() / "events" / "syscalls"
    hooks = [
        ("sched:sched_process_fork", "ea_process_fork"),
        ("signal:signal_deliver", "ea_signal_deliver"),
        ("task:task_rename", "ea_task_rename"),
        ("syscalls:sys_enter_close", "ea_close_enter"),
    ]
    hooks.extend(
        (f"syscalls:sys_enter_{call}", "ea_epoll_wait")
        for call in EPOLL_WAITS
        if (syscalls / f"sys_enter_{call}").is_dir()
    )
    return hooks


#: Raw tracepoint and function; detaching one costs next to nothing.
RAW_HOOKS = (
    ("sys_exit", "ea_sys_exit"),
    ("inet_sock_set_state", "ea_tcp_state"),
    ("sched_process_exec", "ea_process_exec"),
    ("sched_process_exit", "ea_process_exit"),
)
