"""How a session of `attach` is asked to end."""

from __future__ import annotations

import time


class Stop:
    """A request to end a session, which a signal handler may make at any instant.

    Not a `threading.Event`: its `set` takes the lock that its `wait` holds for a moment, and never
    gets it where the handler interrupts that.
    """

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        """Request it."""
        self._requested = True

    def is_set(self) -> bool:
        """Return whether it was requested."""
        return self._requested

    def wait(self, timeout_s: float) -> bool:
        """Wait so long at most; return whether it was requested."""
        if not self._requested:
            time.sleep(timeout_s)
        return self._requested
