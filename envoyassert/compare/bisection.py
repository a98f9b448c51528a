"""Find the first bad one of several candidates, by as few tests as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum


class GoodOrBad(Enum):
    """What a test said of a candidate."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Boundary:
    """Where good ends and bad begins.

    Args:
        good: the last candidate that is good.
        bad: the first one after it that is bad.
        skipped: those in between, which could not be judged.
    """

    good: str
    bad: str
    skipped: tuple[str, ...]


def bisect(candidates: Sequence[str], test: Callable[[str], GoodOrBad]) -> Boundary:
    """Return the boundary between good and bad.

    Args:
        candidates: in their order; the first is known to be good, the last to be bad.
        test: says what a candidate is; SKIPPED if that is not known, and it is not asked again.
    """
    good, bad = 0, len(candidates) - 1
    skipped: set[int] = set()
    while untold := [index for index in range(good + 1, bad) if index not in skipped]:
        middle = (good + bad) / 2
        index = min(untold, key=lambda index: abs(index - middle))
        answer = test(candidates[index])
        if answer is GoodOrBad.GOOD:
            good = index
        elif answer is GoodOrBad.BAD:
            bad = index
        else:
            skipped.add(index)
    return Boundary(candidates[good], candidates[bad], tuple(candidates[good + 1 : bad]))


def path_between(good: str, bad: str, named: Sequence[str]) -> list[str]:
    """Return the candidates on the way from good to bad.

    Args:
        good: the one that is good.
        bad: the one that is bad.
        named: candidates in their order; good and bad may be among them.
    """
    if good in named and bad in named:
        first, last = named.index(good), named.index(bad)
        if first < last:
            return list(named[first : last + 1])
        return list(reversed(named[last : first + 1]))
    return [good, *_others(named, good, bad), bad]


def _others(named: Sequence[str], *ends: str) -> Iterator[str]:
    yield from (name for name in named if name not in ends)
