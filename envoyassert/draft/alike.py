"""Sets of sockets that no selector tells apart: addresses of one listener that are equal.

Each asks the kernel for a port of its own, so they differ in nothing that a scenario could name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from envoyassert.draft.expected import SocketSet


def alike(sets: Sequence[SocketSet]) -> Iterator[tuple[SocketSet, int, str]]:
    """Yield the sets that a draft speaks of, each for so many addresses, and how it takes them.

    Sets that are equal become one of which `each_address` is like it; others of one place become
    one with their sums, which says of options what they have in common.

    Args:
        sets: the sockets, per address.
    """
    groups: dict[object, list[SocketSet]] = {}
    for one in sets:
        chosen = one.address.port == 0
        groups.setdefault((one.name, one.address) if chosen else id(one), []).append(one)
    for first, *others in groups.values():
        number = 1 + len(others)
        if not others:
            yield first, number, ""
        elif all(other == first for other in others):
            yield first, number, "each_address"
        else:
            yield _summed([first, *others]), number, "total"


def _summed(sets: Sequence[SocketSet]) -> SocketSet:
    first = sets[0]
    common = [o for o in first.options if all(one.options.count(o) == 1 for one in sets)]
    return replace(
        first,
        sockets=sum(one.sockets for one in sets),
        descriptors=_sum([one.descriptors for one in sets]),
        listens=_sum([one.listens for one in sets]),
        via="",
        options=tuple(common),
        exact=False,
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
