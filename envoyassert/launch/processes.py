"""What /proc says of processes: which are of a run, which of them is Envoy, whether it has work.

Processes of a run are known by its mark in their environment, and none of them outlives it. One
that leaves its process group, as a daemon does, is not reached by a signal to the group.
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


#: What Envoy names its worker threads (source/server/worker_impl.cc).
_WORKER = "wrk:worker_"


def envoy_among(pid: int) -> int | None:
    """Return the first process with worker threads among one and its descendants, or None.

    Args:
        pid: the process that was started: Envoy itself, or a program that started it.
    """
    return next((one for one in and_descendants(pid) if _has_workers(one)), None)


def and_descendants(pid: int) -> Iterator[int]:
    """Yield a process and all that it started, directly or not, as far as they are there."""
    waiting = [pid]
    while waiting:
        one = waiting.pop(0)
        yield one
        for task in _tasks(one):
            # It may end meanwhile.
            with contextlib.suppress(OSError):
                waiting += map(int, (task / "children").read_text("ascii").split())


def _has_workers(pid: int) -> bool:
    for task in _tasks(pid):
        with contextlib.suppress(OSError):
            if (task / "comm").read_text("utf-8", "replace").startswith(_WORKER):
                return True
    return False


def _tasks(pid: int) -> list[Path]:
    try:
        return sorted(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def all_asleep(pid: int) -> bool:
    """Return whether at some instant during the call every thread of a process slept.

    A thread that hands work to another one wakes it in the same breath. So at an instant at which
    all threads of Envoy sleep, no work is on its way between them, and what they did so far is done
    but for timers. That they all slept at the same instant follows when none of them was switched
    in between two readings (voluntary_ctxt_switches and nonvoluntary_ctxt_switches of proc(5)).

    Args:
        pid: the process.

    Returns:
        False as well if the process has ended.
    """
    try:
        before = _threads(pid)
        return all(state == "S" for state, _ in before.values()) and _threads(pid) == before
    except OSError:
        return False


def _threads(pid: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return state and switches of each thread."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text("utf-8", "replace").splitlines()
        state = next(line.split()[1] for line in lines if line.startswith("State:"))
        switches = tuple(line.split()[1] for line in lines if "ctxt_switches" in line)
        found[task.name] = state, switches
    return found
