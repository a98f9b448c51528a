"""The last net: what is still open when the interpreter ends is closed.

Everything is released by context managers; this covers what left them (an exit inside a
half-built one). What no code can do any more, as after SIGKILL, the kernel does: a `Lifeline` has
it kill a process group.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import signal
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


#: F_SETSIG of fcntl.h, which Python's fcntl module lacks before 3.13.
_F_SETSIG = 10


class Lifeline:
    """A pipe whose end is the end of a process group; nothing is written to it.

    Both ends are held here, each with a signal request on it (fcntl(2): F_SETSIG, F_SETOWN): when
    one end is closed, the kernel sends the signal that the other one asks for. The kernel closes
    the files of a dead process in either order, so both ask. Unlike PR_SET_PDEATHSIG this needs no
    code between fork and exec (with threads about, such code may deadlock) and no wrapper process
    in the trace, takes the children of the group along, and is not undone by the process.

    Raises:
        OSError: there are too many open files.
    """

    def __init__(self) -> None:
        #: What may be the standard input of the process: reading it waits.
        self.read_end, self._write_end = os.pipe()
        for end in self._ends:
            fcntl.fcntl(end, _F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)

    @property
    def _ends(self) -> tuple[int, int]:
        return self.read_end, self._write_end

    def hold(self, group: int) -> None:
        """Have a process group killed when this process ends, or `close` is called.

        Args:
            group: its number. A later group of that number is another one to the kernel.
        """
        for end in self._ends:
            fcntl.fcntl(end, fcntl.F_SETOWN, -group)

    def close(self) -> None:
        """Close it; what is left of the group is killed."""
        for end in self._ends:
            os.close(end)
