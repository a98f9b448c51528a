"""Processes by the mark of a run in their environment: none of them outlives the run.

A process that leaves its process group, as a daemon does, is not reached by a signal to the group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path

#: The variable that holds the id of the run.
MARK = "ENVOYASSERT_RUN"


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
        for pid, pidfd in processes():
            # The pidfd was opened first: the process that is looked at is the one that is killed.
            if wanted & set(environment_of(pid)):
                found = True
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    wait_readable(pidfd, max(0.0, end_s - time.monotonic()))


def environment_of(pid: int) -> list[bytes]:
    """Return the environment that a process was started with; [] if it has ended or is not ours."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def processes() -> Iterator[tuple[int, int]]:
    """Yield each process but this one with a pidfd, which is closed afterwards."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            pidfd = os.pidfd_open(int(entry.name))
        except OSError:
            continue  # ended
        try:
            yield int(entry.name), pidfd
        finally:
            os.close(pidfd)
