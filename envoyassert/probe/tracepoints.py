"""The named tracepoints: whether tracefs is there, and where the running kernel puts the fields."""

from __future__ import annotations

import os
import re
from pathlib import Path

from envoyassert.errors import ProbeUnavailableError
from envoyassert.probe.btf import PUBLISHED, member_offset

TRACEFS = Path("/sys/kernel/tracing")
DEBUGFS = Path("/sys/kernel/debug")
_ROOTS = (TRACEFS, DEBUGFS / "tracing")
MOUNT_REMEDY = "mount it: mount -t tracefs nodev /sys/kernel/tracing"

#: The field that the program reads of the entry of an epoll wait, and its size in bytes.
_EPOLL_FIELD, _EPOLL_FIELD_SIZE = "epfd", 8

#: Macro: structure and member that the program reads behind arguments of raw tracepoints.
_MEMBERS = {
    "EA_AT_TASK_PID": ("task_struct", "pid"),
    "EA_AT_SIGNAL_ACTION": ("k_sigaction", "sa"),
    "EA_AT_ACTION_HANDLER": ("sigaction", "sa_handler"),
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
    events = tracefs_dir() / "events" / "syscalls"
    # arm64 has only the newer calls.
    usual = EPOLL_WAITS[0] if (events / f"sys_enter_{EPOLL_WAITS[0]}").is_dir() else EPOLL_WAITS[1]
    tracepoint = f"sys_enter_{usual}"
    try:
        text = (events / tracepoint / "format").read_text()
    except FileNotFoundError:
        raise ProbeUnavailableError(
            f"this kernel has no tracepoint syscalls:{tracepoint}",
            "use a kernel with CONFIG_FTRACE_SYSCALLS, as all distributions' are",
        ) from None
    offset, size = parse_format(text).get(_EPOLL_FIELD, (0, 0))
    if size != _EPOLL_FIELD_SIZE:
        raise ProbeUnavailableError(
            f"field {_EPOLL_FIELD} of tracepoint syscalls:{tracepoint} has {size} bytes, "
            f"expected {_EPOLL_FIELD_SIZE}",
            "report this kernel's release; the probe must learn the new form",
        )
    return {"EA_AT_EPOLL_EPFD": offset}


def member_offsets() -> dict[str, int]:
    """Return the macros that say where the kernel's structures have what the program reads.

    Raises:
        ProbeUnavailableError: this kernel publishes no types, or has a structure in another form.
    """
    try:
        types = PUBLISHED.read_bytes()
    except OSError as error:
        raise ProbeUnavailableError(
            f"{PUBLISHED} cannot be read: {error.strerror}", "run as root (sudo)"
        ) from error
    return {macro: member_offset(types, *place) for macro, place in _MEMBERS.items()}


def named_hooks() -> list[tuple[int, str]]:
    """Return the number of each named tracepoint, and the function of the program for it.

    Only the entries of single system calls: the raw tracepoint would have those of all of them.

    Raises:
        ProbeUnavailableError: tracefs is not mounted, or a tracepoint of it has no number.
    """
    syscalls = tracefs_dir() / "events" / "syscalls"
    hooks = {"close": "ea_close_enter"} | dict.fromkeys(EPOLL_WAITS, "ea_epoll_wait")
    found = []
    for call, function in hooks.items():
        try:
            number = int((syscalls / f"sys_enter_{call}" / "id").read_text())
        except FileNotFoundError:
            if call in EPOLL_WAITS:
                continue
            raise ProbeUnavailableError(
                f"this kernel has no tracepoint syscalls:sys_enter_{call}",
                "use a kernel with CONFIG_FTRACE_SYSCALLS, as all distributions' are",
            ) from None
        found.append((number, function))
    return found


#: Where there are selections: behind the function of the same tracepoint below.
SELECT_HOOK = ("sched_process_exec", "ea_process_select")

#: Raw tracepoint and function; detaching one costs next to nothing.
RAW_HOOKS = (
    ("sys_exit", "ea_sys_exit"),
    ("inet_sock_set_state", "ea_tcp_state"),
    ("sched_process_exec", "ea_process_exec"),
    ("sched_process_exit", "ea_process_exit"),
    ("sched_process_fork", "ea_process_fork"),
    ("signal_deliver", "ea_signal_deliver"),
    ("task_rename", "ea_task_rename"),
)
