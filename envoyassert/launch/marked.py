"""Processes by the mark of a run in their environment: none of them outlives the run.

A process that leaves its process group, as a daemon does, is not reached by a signal to the group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator

#: The variable that holds the id of the run.
MARK = "ENVOYASSERT_RUN"

#: How long an exec may take between the new memory and the environment in it.
_EXEC_DEADLINE_S = 1.0
#: linux/sched.h: a thread of the kernel's.
_PF_KTHREAD = 0x00200000


def end_marked(marks: Collection[str], deadline_s: float) -> None:
    """Kill every process that has one of these marks, and wait until there is none.

    Args:
        marks: each `ENVOYASSERT_RUN=<id>`.
        deadline_s: how long to wait for all of them.
    """
    # Not above: `doctor` imports this on systems whose C library is another one.
    from envoyassert.launch.kernel import wait_readable

    end_s = time.monotonic() + deadline_s
    wanted = {mark.encode() for mark in marks}
    found = True
    while found and wanted and time.monotonic() < end_s:
        found = False
        for pid in _others():
            if not wanted & set(environment_of(pid)):
                continue
            # Where it ends before it is opened too: it may have left a child that was not listed.
            found = True
            with contextlib.suppress(OSError), _opened(pid) as pidfd:
                # Once more: now the process that is looked at is the one that is killed.
                if wanted & set(environment_of(pid)):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    wait_readable(pidfd, max(0.0, end_s - time.monotonic()))


def environment_of(pid: int) -> list[bytes]:
    """Return the environment that a process was started with; [] if it has ended or is not ours.

    In the middle of an exec the file is empty (proc(5) does not say so): then it is read again.
    """
    end_s = time.monotonic() + _EXEC_DEADLINE_S
    try:
        while True:
            found = _read(f"/proc/{pid}/environ")
            if found or not _may_have_environment(pid) or time.monotonic() > end_s:
                return found.split(b"\0")
    except OSError:
        return []


def _may_have_environment(pid: int) -> bool:
    """Whether a process whose environment was just seen to be empty may have one anyway."""
    stat = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    state, flags, end_code = stat[0], int(stat[6]), int(stat[24])
    if state in (b"Z", b"X") or flags & _PF_KTHREAD:
        return False
    # The kernel knows the end of the code last of all (Linux, fs/binfmt_elf.c).
    return not end_code or int(stat[47]) < int(stat[48])


def processes() -> Iterator[tuple[int, int]]:
    """Yield each process but this one with a pidfd, which is closed afterwards."""
    for pid in _others():
        with contextlib.suppress(OSError), _opened(pid) as pidfd:
            yield pid, pidfd


def _others() -> Iterator[int]:
    own = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208 - names alone
        if name.isdecimal() and int(name) != own:
            yield int(name)


@contextlib.contextmanager
def _opened(pid: int) -> Iterator[int]:
    """Open a process for a while. Raises OSError if it has ended."""
    pidfd = os.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _read(path: str) -> bytes:
    """Read a file of /proc: of each process, in every run. By pathlib it takes twice as long."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))
    finally:
        os.close(descriptor)
