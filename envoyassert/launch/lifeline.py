"""What makes the kernel kill a process group when this process ends, however it ends.

Both ends of a pipe are held here, each with a signal request on it (fcntl(2): F_SETSIG, F_SETOWN):
when one end is closed, the kernel sends the signal that the other one asks for. The kernel closes
the files of a dead process in either order, so both ask. Unlike PR_SET_PDEATHSIG this needs no code
between fork and exec (with threads about, such code may deadlock) and no wrapper process in the
trace, takes the children of the group along, and is not undone by the process.
"""

from __future__ import annotations

import fcntl
import os
import signal

#: F_SETSIG of fcntl.h, which Python's fcntl module lacks before 3.13.
_F_SETSIG = 10


class Lifeline:
    """A pipe whose end is the end of a process group; nothing is written to it.

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
