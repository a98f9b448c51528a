"""The last net: what is still open when the interpreter ends is closed.

Everything is released by context managers; this covers what left them (an exit inside a
half-built one), and turns SIGTERM into an exception so that they run at all.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Protocol


class Closable(Protocol):
    """Something that holds processes, namespaces or files."""

    def close(self) -> None:
        """Release them; may be repeated."""


_open: dict[Closable, int] = {}


def register(resource: Closable) -> None:
    """Close `resource` when the interpreter ends, unless it is unregistered before."""
    _open[resource] = os.getpid()


def unregister(resource: Closable) -> None:
    """Forget `resource`: it was closed."""
    _open.pop(resource, None)


@atexit.register
def _close_all() -> None:
    with contextlib.ExitStack() as stack:
        for resource, owner in _open.items():
            # A forked child inherits the list, not the duty.
            if owner == os.getpid():
                stack.callback(resource.close)


def exit_on_sigterm() -> None:
    """Make SIGTERM raise SystemExit(143), unless a handler is set; for command line programs.

    Does nothing outside the main thread, where Python allows no handlers.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)
