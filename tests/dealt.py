"""Tests in the order in which several workers are to take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def dealt(items: Sequence[T], seconds: Sequence[float], workers: int) -> list[T]:
    """Return items so that each worker begins with its share of the long ones.

    A long one at the end has the other workers wait for it; and xdist takes no test from a worker
    that has a single one left behind the one it runs.

    Args:
        items: what is to be done. Each worker gets as many as the others, next to each other.
        seconds: how long each of them may take; 0 for one that is not long.
        workers: how many take them.
    """
    order = sorted(range(len(items)), key=lambda place: -seconds[place])
    long = [items[place] for place in order if seconds[place]]
    others = [item for item, its in zip(items, seconds, strict=True) if not its]
    found: list[T] = []
    for worker in range(workers):
        share = (len(items) - len(found)) // (workers - worker)
        first = long[worker::workers]
        more = max(0, share - len(first))
        found += [*first, *others[:more]]
        del others[:more]
    return found
