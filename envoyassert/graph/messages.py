"""Descriptors on their way from one process to another (SCM_RIGHTS, unix(7)).

A message is paired with its receipt by order and by how many descriptors it carries. Where that is
not enough to tell which socket arrived, it is said, never guessed.
"""

from __future__ import annotations

from envoyassert.graph.model import KernelSocket


class Messages:
    """What was sent and not yet received.

    Args:
        problems: contradictions and doubts are added here, in words.
    """

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems
        self._sent: list[list[KernelSocket | None]] = []
        self._unsent: set[int] = set()

    def send(self, sockets: list[KernelSocket | None]) -> None:
        """Note a message that was sent; None stands for what is no known socket."""
        if len(sockets) in self._unsent:
            # The receiver may return before the sender does.
            self._problems.append(
                "descriptors were received before they were sent: which ones is not known"
            )
        self._sent.append(sockets)

    def receive(self, count: int) -> list[KernelSocket | None] | None:
        """Return what a message of so many descriptors brought; None if nobody was seen to send."""
        fitting = [sent for sent in self._sent if len(sent) == count]
        if not fitting:
            self._unsent.add(count)
            return None
        found = fitting[0]
        self._sent.remove(found)
        if any(other != found for other in fitting):
            self._problems.append(
                "several descriptors are on their way at once: which one arrived is not known"
            )
        return found
