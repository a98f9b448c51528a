"""What one case may take: processor time and memory."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

MOST_S = 5.0
MOST_KB = 500 * 1024
#: A case that waits uses no processor. On a busy machine one that does not may take this long.
_MOST_WAITED_S = 120.0


class TooLongError(BaseException):
    """A case took too long; no `Exception`, for those are caught on the way."""


def in_time() -> contextlib.AbstractContextManager[None]:
    """End what runs inside when it has used too much processor time.

    Raises:
        TooLongError: it has.
    """
    return _within(signal.SIGPROF, signal.ITIMER_PROF, MOST_S)


def not_waiting() -> contextlib.AbstractContextManager[None]:
    """End what runs inside when it waits for something that does not come.

    For processes of a campaign alone: the timer is the one of pytest-timeout.

    Raises:
        TooLongError: it did.
    """
    return _within(signal.SIGALRM, signal.ITIMER_REAL, _MOST_WAITED_S)


@contextlib.contextmanager
def _within(number: signal.Signals, timer: int, most_s: float) -> Iterator[None]:
    before = signal.signal(number, _too_long)
    signal.setitimer(timer, most_s)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)


def _too_long(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGPROF:
        raise TooLongError(f"more than {MOST_S:g} s of processor time")
    raise TooLongError(f"it waits for more than {_MOST_WAITED_S:g} s")


def limit_memory() -> None:
    """Let this process get so much more memory and no more: what takes it fails at once."""
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_KB * 1024, hard))


def peak_kb() -> int:
    """Return how much memory this process has needed at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
