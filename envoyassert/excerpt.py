"""An excerpt of a trace: the few events that show one failure, marked as what it is."""

from __future__ import annotations

from typing import Any

from envoyassert.frozen import frozen
from envoyassert.ranges import Natural


@frozen
class Excerpt:
    """What an excerpt shows, and nothing else.

    Args:
        events: how many events the whole trace has.
        path: the atom that is not met: `("expect", 0, "bound", "times")`.
        code: what was asked; "" in an excerpt of an earlier version, which says no more.
        wanted: what was asked, as the JSON form of a finding's value.
        seen: what was observed in the whole trace, likewise; words in one of an earlier version.
        expected: what was asked, in words, in one of an earlier version.
    """

    events: Natural
    path: tuple[str | int, ...]
    code: str = ""
    wanted: Any = None
    seen: Any = None
    expected: str = ""

    def shows(self, found: Excerpt) -> bool:
        """Whether a finding, noted in the same way, is the one that this shows.

        Numbers may differ in what was seen, and members of it may be missing: of fifty sockets one
        may be enough. Counts must be too low where those of the whole trace are, or too high.
        """
        if not self.code or (found.path, found.code) != (self.path, self.code):
            return False
        return (
            found.wanted == self.wanted
            and _matches(found.seen, self.seen)
            and _sides(self.wanted, found.seen) <= _sides(self.wanted, self.seen)
        )


def _matches(part: object, whole: object) -> bool:
    """Whether a value is like another but for numbers and for members that are missing."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return part.keys() == whole.keys() and all(_matches(part[key], whole[key]) for key in part)
    if isinstance(part, list) and isinstance(whole, list):
        return all(any(_matches(one, other) for other in whole) for one in part)
    if _is_number(part) and _is_number(whole):
        return True
    return bool(part == whole)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sides(wanted: object, seen: object) -> set[int]:
    """Return on which sides of a wanted count the seen ones are: -1 below, 1 above, 0 within."""
    if not isinstance(wanted, dict) or wanted.get("kind") != "count" or "low" not in wanted:
        return set()
    low, high = wanted["low"], wanted.get("high")
    if not isinstance(seen, dict):
        return set()
    numbers = [seen["number"]] if seen.get("kind") == "number" else []
    if seen.get("kind") == "groups":
        numbers = [number for _, number in seen["members"]]
    return {-1 if n < low else 1 if high is not None and n > high else 0 for n in numbers}


__all__ = ["Excerpt"]
