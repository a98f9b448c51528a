"""Counts as intervals, so that a loss can only ever widen what is possible.

What was seen for certain is the lower end; the upper end is what was seen at all, or without
limit once records were lost. What is expected is an interval as well. The answer is PASS if every
possible count is in it, FAIL if none is, and INCONCLUSIVE otherwise: an answer can change from PASS
or FAIL to INCONCLUSIVE by losing events, and in no other way.
"""

from __future__ import annotations

from envoyassert.frozen import frozen
from envoyassert.judge.values import Count as CountValue
from envoyassert.judge.values import Counted
from envoyassert.judge.verdict import Status
from envoyassert.scenario.quantity import Count, Linear, Quantity, Range


@frozen
class Interval:
    """From `low` to `high`, both included; `high` None is without limit."""

    low: int
    high: int | None

    def compare(self, wanted: Interval) -> Status:
        """Return whether a count in this interval is one of the expected."""
        if self.low >= wanted.low and _at_most(self.high, wanted.high):
            return Status.PASS
        disjoint = (wanted.high is not None and self.low > wanted.high) or (
            self.high is not None and self.high < wanted.low
        )
        return Status.FAIL if disjoint else Status.INCONCLUSIVE

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low}"
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def _at_most(value: int | None, limit: int | None) -> bool:
    return limit is None or (value is not None and value <= limit)


def resolve(quantity: Quantity, workers: int) -> int:
    """Return a quantity as a number, given the requested number of workers."""
    if quantity == "workers":
        return workers
    if isinstance(quantity, Linear):
        return max(0, quantity.workers * workers + quantity.plus)
    return int(quantity)


def wanted_interval(count: Count, workers: int) -> Interval:
    """Return the interval that a count of the expectation language stands for."""
    if count == "none":
        return Interval(0, 0)
    if not isinstance(count, Range):
        number = resolve(count, workers)
        return Interval(number, number)
    if count.exactly is not None:
        number = resolve(count.exactly, workers)
        return Interval(number, number)
    least, most = count.between or (count.at_least, count.at_most)
    low = 0 if least is None else resolve(least, workers)
    high = None if most is None else resolve(most, workers)
    return Interval(low, high)


def count_of(of: Counted, wanted: Interval | None, each: str | None = None) -> CountValue:
    """Return an expected count as the value of a finding; None is a number that is not known."""
    low, high = (None, None) if wanted is None else (wanted.low, wanted.high)
    return CountValue(of, low, high, each)


def plural(number: int, noun: str) -> str:
    """Return `1 time` or `2 times`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
