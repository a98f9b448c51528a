"""What the attached probe costs a process that it does not watch, measured on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import repeat

from envoyassert.frozen import frozen

#: Calls whose time is taken together; the median of so many such portions is taken.
_CALLS, _PORTIONS = 2_000, 15


@frozen
class Cost:
    """What a system call takes longer while the probe is attached.

    Args:
        ns_per_call: the median of all pairs, in ns of processor time.
        least_ns: the least of them; below 0 if the machine was busy with other things.
        most_ns: the most.
        plain_ns: what the call takes without the probe, with the loop around it.
        pairs: how often it was measured with and without.
    """

    ns_per_call: float
    least_ns: float
    most_ns: float
    plain_ns: float
    pairs: int

    def in_words(self) -> str:
        """Return the figure with its spread: `170 ns per system call (150 to 210 in 5 pairs)`."""
        return (
            f"{self.ns_per_call:.0f} ns per system call "
            f"({self.least_ns:.0f} to {self.most_ns:.0f} in {self.pairs} pairs)"
        )


def measure(attach: Callable[[], None], detach: Callable[[], None], pairs: int) -> Cost:
    """Measure getppid(2), a call that does next to nothing, with and without the probe by turns.

    Args:
        attach: attaches the probe, which is attached before and after.
        detach: detaches it.
        pairs: how often, from 1.
    """
    differences, plain = [], []
    for _ in range(pairs):
        with_probe = _ns_per_call()
        detach()
        try:
            plain.append(_ns_per_call())
        finally:
            attach()
        differences.append(with_probe - plain[-1])
    return Cost(
        _median(differences),
        min(differences),
        max(differences),
        _median(plain),
        pairs,
    )


def _ns_per_call() -> float:
    call, times = os.getppid, []
    for _ in range(_PORTIONS):
        start = time.thread_time_ns()
        for _ in repeat(None, _CALLS):
            call()
        times.append((time.thread_time_ns() - start) / _CALLS)
    return _median(times)


def _median(values: list[float]) -> float:
    # Few sessions measure, and it takes as long to import as all of this package.
    from statistics import median

    return median(values)
