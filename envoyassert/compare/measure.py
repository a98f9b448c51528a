"""How much of something was seen, and whether two such measures differ.

A measure knows how far it can be trusted, as the judge's intervals do: what was seen for certain is
the least, and where records were lost there is no greatest. Two runs differ for sure only if no
count that is possible in one is possible in the other.
"""

from __future__ import annotations

from dataclasses import dataclass

#: `Envoy makes a thing per worker, once or a few times`: the factors that are recognised.
_MOST_PER_WORKER = 4


@dataclass(frozen=True)
class Measure:
    """How often something was seen.

    Args:
        seen: how often.
        certain: how often for sure.
        whole: whether nothing of it can be missing.
        of: if it is a share, of how many; `2 of 2` equals `1 of 1`, since both are all.
    """

    seen: int
    certain: int
    whole: bool
    of: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether it is a share, and the whole of it."""
        return self.of is not None and 0 < self.of <= self.seen

    @property
    def text(self) -> str:
        """`2`, or for a share that is not all `2 of 4`."""
        return f"{self.seen} of {self.of}" if self.of is not None else str(self.seen)


@dataclass(frozen=True)
class Workers:
    """The numbers of workers of two runs; 0 where it is not known."""

    before: int
    after: int

    @property
    def differ(self) -> bool:
        """Whether both are known and not the same."""
        return 0 < self.before != self.after > 0

    def grow(self, before: int, after: int) -> bool:
        """Whether two counts are the same number of things per worker.

        That is k for each worker, and up to k more or less: of one socket, workers - 1 are copies.
        """
        if not self.differ:
            return False
        slope, rest = divmod(after - before, self.after - self.before)
        offset = before - slope * self.before
        return rest == 0 and 1 <= slope <= _MOST_PER_WORKER and offset in (-slope, 0, slope)


def same(before: Measure, after: Measure, workers: Workers) -> bool:
    """Return whether two measures are equal, given how many workers there were."""
    if before.of is not None or after.of is not None:
        if before.seen == 0 or after.seen == 0:
            return before.seen == after.seen
        if before.is_all or after.is_all:
            return before.is_all and after.is_all
    return before.seen == after.seen or workers.grow(before.seen, after.seen)


def surely_differ(before: Measure, after: Measure, workers: Workers) -> bool:
    """Return whether two measures differ, whatever was lost."""
    if same(before, after, workers):
        return False
    if before.whole and after.whole:
        return True
    for absent, present in ((before, after), (after, before)):
        if absent.whole and absent.seen == 0 and present.certain > 0:
            return True
    if before.of is not None or after.of is not None or workers.differ:
        return False
    return (after.whole and before.certain > after.seen) or (
        before.whole and after.certain > before.seen
    )
