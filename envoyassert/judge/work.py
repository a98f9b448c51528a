"""How much work the judging of one trace may be: a short file can ask for a great deal."""

from __future__ import annotations

from dataclasses import dataclass

#: About half a minute on a machine of 2020: a unit is about one look at an event.
MOST = 30_000_000


class TooMuchError(Exception):
    """An expectation is not judged: all of them and the events are more work than so many units."""


@dataclass
class Work:
    """What is left of the work that may be done for one trace; it is the same on any machine.

    Args:
        left: units.
    """

    left: int = MOST

    def spend(self, units: int) -> None:
        """Take note of work that is about to be done.

        Raises:
            TooMuchError: it is more than is left, now or before.
        """
        self.left = -1 if units > self.left else self.left - units
        if self.left < 0:
            raise TooMuchError(MOST)
