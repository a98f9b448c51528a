"""Run a command, and end all that it started when it is over.

    python -m tests.distros.keeper GRACE COMMAND [ARGUMENT...]

What runs in a root tree has no process numbers of its own (the probes record those of the machine),
so none of it ends by itself with the rest. This process becomes the parent of all that lose theirs.
It stops at SIGTERM, and when its own parent dies: then all have GRACE seconds after SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from envoyassert.launch.processes import and_descendants

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAUSE_S = 0.05


class _StopError(Exception):
    """This process is to stop."""


def main() -> int:
    """Run the command, end what is left; return its exit code, as a shell puts it."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getppid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        return 128 + signal.SIGTERM  # it died before it could be watched
    grace_s = 0.0
    try:
        # Kept: a Popen that is deleted takes note of the end of its process, if that came first.
        started = subprocess.Popen(sys.argv[2:], start_new_session=True)
        code = _wait_for(started.pid)
    except _StopError:
        code = -signal.SIGTERM
        grace_s = float(sys.argv[1])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_all(grace_s)
    return code if code >= 0 else 128 - code


def _wait_for(wanted: int) -> int:
    """Wait for every child that ends, until it is this one; return its code as `Popen` does."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == wanted:
            return os.waitstatus_to_exitcode(status)


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _StopError


def _end_all(grace_s: float) -> None:
    """End every descendant: by SIGTERM, and after `grace_s` by SIGKILL."""
    deadline = time.monotonic() + grace_s
    _signal_all(signal.SIGTERM)
    while _any_left():
        if time.monotonic() >= deadline:
            _signal_all(signal.SIGKILL)
        time.sleep(_PAUSE_S)


def _signal_all(number: int) -> None:
    for pid in list(and_descendants(os.getpid()))[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _any_left() -> bool:
    """Take note of the children that ended; return whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
