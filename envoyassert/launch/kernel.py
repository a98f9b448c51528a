"""System calls that Python's standard library lacks, through ctypes.

Numbers above 424 are the same on every architecture (openat2 437, pidfd_getfd 438, cachestat 451);
the rest goes through the C library by name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

from envoyassert.clock import boottime_offset_ns
from envoyassert.names import CLONE_NEWNET

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 0x1000, 0x4000, 1 << 18
_SYS_OPENAT2, _SYS_PIDFD_GETFD, _SYS_CACHESTAT = 437, 438, 451
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
#: openat2(2): how often to try again while others rename directories.
_TRIES = 64

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


if sys.version_info >= (3, 12):
    _unshare, _setns = os.unshare, os.setns
else:

    def _unshare(flags: int) -> None:
        _checked(_libc.unshare(flags), "unshare")

    def _setns(fd: int, nstype: int) -> None:
        _checked(_libc.setns(fd, nstype), "setns")


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces (unshare(2)).

    Raises:
        OSError: not permitted, or not supported.
    """
    _unshare(flags)


def join_network_namespace(descriptor: int) -> None:
    """Move the calling thread into the network namespace of an open ns/net file (setns(2)).

    Raises:
        OSError: not permitted, or no such namespace.
    """
    _setns(descriptor, CLONE_NEWNET)


def make_mounts_private() -> None:
    """Keep mounts made from now on inside the calling thread's mount namespace.

    Raises:
        OSError: not permitted.
    """
    _checked(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")


def mount_tmpfs(path: str) -> None:
    """Mount an empty tmpfs over a directory.

    Raises:
        OSError: not permitted, or no such directory.
    """
    flags = _MS_NOSUID | _MS_NODEV
    result = _libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", flags, b"mode=1777")
    _checked(result, f"mount tmpfs on {path}")


def mount_file(source: str, target: str) -> None:
    """Make a file appear at another place too, which is a file already (bind mount).

    Raises:
        OSError: not permitted, or no such file.
    """
    result = _libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None)
    _checked(result, f"mount {source} at {target}")


def open_in_root(directory: int, path: str, flags: int, mode: int = 0) -> int:
    """Open a file as if a directory were the root directory (openat2(2), Linux 5.6).

    Links of /proc, as of descriptors and roots, are refused (ELOOP).

    Args:
        directory: a descriptor of it.
        path: absolute, or relative to it.
        flags: of open(2).
        mode: of what is made, with O_CREAT.

    Raises:
        OSError: it cannot be opened, or the kernel is too old (ENOSYS).
    """
    resolve = _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, resolve)
    for _ in range(_TRIES):
        found = int(_libc.syscall(_SYS_OPENAT2, directory, os.fsencode(path), how, len(how)))
        if found >= 0 or ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return found


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """Return a duplicate of another process's descriptor (pidfd_getfd(2), Linux 5.6).

    Raises:
        OSError: EBADF no such descriptor, EPERM not permitted, ESRCH the process has ended.
    """
    return _checked(_libc.syscall(_SYS_PIDFD_GETFD, pidfd, descriptor, 0), "pidfd_getfd")


def is_in_page_cache(descriptor: int) -> bool:
    """Whether all of a file is in the page cache (cachestat(2), Linux 6.5).

    Args:
        descriptor: of the file.

    Returns:
        False as well where this kernel does not say.
    """
    everything, counts = (ctypes.c_uint64 * 2)(), (ctypes.c_uint64 * 5)()
    if _libc.syscall(_SYS_CACHESTAT, descriptor, everything, counts, 0) != 0:
        return False
    page = os.sysconf("SC_PAGE_SIZE")
    return int(counts[0]) >= -(-os.fstat(descriptor).st_size // page)


def wait_readable(descriptor: int, timeout_s: float) -> bool:
    """Wait until a descriptor (a pidfd: until the process has ended) is readable.

    Args:
        descriptor: any descriptor poll(2) accepts.
        timeout_s: how long to wait; 0 or less asks once.

    Returns:
        Whether it is.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    # poll counts in milliseconds; rounding down would turn short waits into a busy loop.
    return bool(poll.poll(max(0, -(-timeout_s * 1000 // 1))))


class Owner(NamedTuple):
    """A process by an identity that is not reused: number, start and pid namespace.

    Args:
        pid: process id in its own pid namespace.
        start: clock ticks from boot to its start (/proc/<pid>/stat, field 22).
        namespace: inode number of its pid namespace.
    """

    pid: int
    start: int
    namespace: int

    @classmethod
    def current(cls) -> Owner:
        """Return this process's own identity."""
        start = process_start(os.getpid())
        if start is None:
            raise OSError("/proc is not mounted")
        return cls(os.getpid(), start, _pid_namespace())

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Read what `str` wrote; None if it is something else."""
        parts = text.split("-")
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            return None
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.pid}-{self.start}-{self.namespace}"

    def is_dead(self) -> bool:
        """Whether the process has surely ended; False if it cannot be seen from here."""
        if self.namespace != _pid_namespace():
            return False
        start = process_start(self.pid)
        # Another time namespace may round otherwise.
        return start is None or abs(start - self.start) > 1


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks after boot; None if it has ended."""
    try:
        with Path(f"/proc/{pid}/stat").open(encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # A zombie holds no resources any more.
    if fields[0] in "ZX":
        return None
    return int(fields[19]) - boottime_offset_ns() * _ticks_per_s() // 1_000_000_000


def process_started_s(pid: int) -> float | None:
    """Return when a process started, in seconds of time.monotonic(); None if it has ended.

    At most one clock tick (10 ms) too early, never too late.
    """
    ticks = process_start(pid)
    if ticks is None:
        return None
    since_boot_s = ticks / _ticks_per_s()
    boottime_s = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - boottime_offset_ns()) / 1e9
    return time.monotonic() - (boottime_s - since_boot_s)


def _ticks_per_s() -> int:
    return os.sysconf("SC_CLK_TCK")


def handles_signal(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (/proc/<pid>/status, SigCgt)."""
    return bool(_signals(pid, "SigCgt") & _bit(number))


def is_dying(pid: int) -> bool:
    """Whether a fault is about to end a process that lives.

    Its signal waits to be delivered, or is being handled. Envoy handles these signals all at once
    and each once only (source/common/signal/signal_action.cc, SA_RESETHAND): it prints where it
    was, which takes a while, and raises the signal again, which it does not catch any more.
    """
    waiting = _signals(pid, "SigPnd") | _signals(pid, "ShdPnd")
    return bool(waiting & _FAULTS) or _signals(pid, "SigCgt") & _FAULTS not in (0, _FAULTS)


def _bit(number: int) -> int:
    return 1 << (number - 1)


_FAULTS = sum(
    map(_bit, (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV))
)


def _signals(pid: int, name: str) -> int:
    """Return a set of signals in /proc/<pid>/status (proc(5)), empty if there is no process."""
    try:
        with Path(f"/proc/{pid}/status").open(encoding="utf-8", errors="replace") as file:
            return next(int(line.split()[1], 16) for line in file if line.startswith(f"{name}:"))
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return 0


def tracer_of(pid: int) -> int | None:
    """Return the process that traces a living process (ptrace(2)), None if there is none."""
    return _tracer(pid) or None


def lives_untraced(pid: int) -> bool:
    """Whether a process lives and is not traced."""
    return _tracer(pid) == 0


def _tracer(pid: int) -> int | None:
    """Return what traces a living process, 0 for nothing; None if the process does not live."""
    try:
        with Path(f"/proc/{pid}/status").open(encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # What has ended is a zombie until its tracer has taken note.
    return None if fields["State"][0] in "ZX" else int(fields["TracerPid"])


def open_tracer(pid: int) -> int | None:
    """Return a pidfd of the process that traces another, None if there is none."""
    tracer = tracer_of(pid)
    if tracer is None:
        return None
    try:
        return os.pidfd_open(tracer)
    except ProcessLookupError:
        return None


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
