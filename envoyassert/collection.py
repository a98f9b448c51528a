"""Python's search for garbage in cycles, and when it is only in the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: So many objects in cycles may wait for a full search before the next pause begins with one.
MOST_LEFT = 500_000


class _Left:
    """What pauses left to the next full search.

    Args:
        objects: how many.
        searches: how many full searches there were when the last of them was left.
    """

    def __init__(self) -> None:
        self.objects = 0
        self.searches = 0

    def leave(self, objects: int) -> None:
        """Add what a pause made."""
        searches = _full_searches()
        self.objects = objects + (self.objects if searches == self.searches else 0)
        self.searches = searches

    def collect(self) -> None:
        """Search now if much was left, and nothing searched since."""
        if self.objects > MOST_LEFT:
            if _full_searches() == self.searches:
                gc.collect()
            self.objects = 0


_left = _Left()


class _Frozen:
    """Whether another library has frozen objects: to count them takes as long as to search them."""

    def __init__(self) -> None:
        self.seen = False

    def __bool__(self) -> bool:
        self.seen = self.seen or gc.get_freeze_count() > 0
        return self.seen


_frozen = _Frozen()


@contextmanager
def collection_paused(*, cycles: bool = False) -> Iterator[None]:
    """Do not look for garbage in cycles meanwhile: what is made here is all kept.

    The collector looks at all objects again and again while their number grows. That takes as long
    as making them, and finds nothing. Other threads are not looked after meanwhile either. When
    the pause ends, all objects count as old: the next search of young ones would look at all that
    was made, and find nothing. A full search looks at them as at any.

    Args:
        cycles: whether what is made holds itself, so that only a full search frees it in the end.
            Much of it is searched for when the next such pause begins: a session of long traces
            keeps the graph of one or two of them, not of all.
    """
    enabled = gc.isenabled()
    if enabled and cycles:
        _left.collect()
    gc.disable()
    before = gc.get_count()[0]
    try:
        yield
    finally:
        if enabled:
            if cycles:
                _left.leave(gc.get_count()[0] - before)
            # What another library has frozen stays so.
            if not _frozen:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _full_searches() -> int:
    searches: int = gc.get_stats()[-1]["collections"]
    return searches
