"""What goes from one expectation of a trace to the next: the work that is left, and variables.

A short file can ask for a great deal of work.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

from envoyassert.judge.values import Fact, Topic

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


class Joined(NamedTuple):
    """What a variable stands for: its members' identities and names, who says so, of what kind."""

    members: frozenset[Hashable]
    names: Fact
    topic: Topic
    fact: str
