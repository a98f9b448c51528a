"""How a socket goes from process to process by a message (SCM_RIGHTS, unix(7))."""

from __future__ import annotations

from envoyassert.events import Event
from envoyassert.frozen import frozen


@frozen
class Pass:
    """A message that handed a socket on.

    Args:
        sent: the call that sent it; None if its sender is not traced.
        received: the call that received it; None if its receiver is not traced, or had not
            received it by the end.
    """

    sent: Event | None
    received: Event | None

    @property
    def is_outside(self) -> bool:
        """Whether a process has, or had, the socket of which nothing else is known."""
        return self.sent is None or self.received is None
