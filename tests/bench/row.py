"""What a line of the table yields: figures, and the target that they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

#: How a row meets its target; `info` has none, `error` could not be measured.
State = Literal["met", "not met", "info", "error"]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Args:
        line: name of the line that it belongs to.
        what: what was measured.
        against: what the figure is relative to: a commit, a peer; "" if it is absolute.
        values: the figure of each pair, or of each repetition.
        unit: of the values; "" for a ratio.
        limit: the target: the greatest median that meets it; None without one.
        seen: the measured figures behind a ratio, and what else belongs to it.
        error: why there are no figures; "" if there are.
    """

    line: str
    what: str
    against: str = ""
    values: tuple[float, ...] = ()
    unit: str = ""
    limit: float | None = None
    seen: str = ""
    error: str = ""

    @property
    def median(self) -> float:
        """The median of the values.

        Raises:
            statistics.StatisticsError: there are none.
        """
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """The first and the third quartile; None of a single value."""
        if len(self.values) < 2:
            return None
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return first, third

    @property
    def state(self) -> State:
        """Whether the median meets the target."""
        if self.error or not self.values:
            return "error"
        if self.limit is None:
            return "info"
        return "met" if self.median <= self.limit else "not met"


def in_turn(pairs: int) -> Iterator[tuple[int, int]]:
    """Yield in which order the two sides of each pair are measured: 0 1, 1 0, 0 1, …

    A machine that grows slower or faster meanwhile then favours neither.
    """
    for pair in range(pairs):
        yield (1, 0) if pair % 2 else (0, 1)


def ratios(before: Sequence[float], now: Sequence[float]) -> tuple[float, ...]:
    """Return the ratio of each pair, the second to the first.

    Raises:
        ValueError: one has more figures than the other.
    """
    return tuple(new / old for old, new in zip(before, now, strict=True))


def figure(value: float, unit: str) -> str:
    """Return a figure with its unit, with three significant digits: `0.262 s`, `352 MiB`."""
    if unit == "s" and 0 < abs(value) < 1e-6:
        value, unit = value * 1e9, "ns"
    elif unit == "s" and 0 < abs(value) < 1e-3:
        value, unit = value * 1e6, "µs"
    if value == int(value):
        return f"{value:.0f}{' ' if unit else ''}{unit}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}{' ' if unit else ''}{unit}"


def both(before: Sequence[float], now: Sequence[float], unit: str) -> str:
    """Return the two medians behind a ratio: `3.61 s to 1.02 s`."""
    return f"{figure(statistics.median(before), unit)} to {figure(statistics.median(now), unit)}"
