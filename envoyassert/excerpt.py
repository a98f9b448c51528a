"""An excerpt of a trace: the few events that show one failure, marked as what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envoyassert.ranges import Natural

_PARTS = re.compile(r", |; | and ")
_TIMES = re.compile(r"\b(\d+) times?\b|\bnever\b")
_COUNTED = re.compile(r"\d+( \w+?)s?\b")


@dataclass(frozen=True)
class Excerpt:
    """What an excerpt shows, and nothing else.

    Args:
        events: how many events the whole trace has.
        path: the atom that is not met: `("expect", 0, "bound", "times")`.
        expected: what was asked, in words.
        seen: what was observed in the whole trace, in words.
    """

    events: Natural
    path: tuple[str | int, ...]
    expected: str
    seen: str

    def shows(self, path: tuple[str | int, ...], expected: str, seen: str) -> bool:
        """Whether a finding is the one that this shows.

        Numbers may differ in what was seen, and parts of it may be missing: of fifty sockets one
        may be enough.
        """
        same = (path, expected) == (self.path, self.expected)
        return same and _words(seen) <= _words(self.seen) and self._errs_alike(seen)

    def _errs_alike(self, seen: str) -> bool:
        """Whether counts are too low where those of the whole trace are, and too high likewise."""
        wished = _counts(self.expected)
        sides = [[(n > w) - (n < w) for n in _counts(s) for w in wished] for s in (seen, self.seen)]
        return sides[0] == sides[1]


def _counts(words: str) -> list[int]:
    """Return the numbers of times that a sentence tells."""
    return [int(found[1] or 0) for found in _TIMES.finditer(words)]


def _words(seen: str) -> set[str]:
    """Return the parts of a sentence without numbers and the plural that goes with them."""
    parts = _PARTS.split(_COUNTED.sub(r"#\1", seen))
    return {re.sub(r"\d+", "#", part) for part in parts}
