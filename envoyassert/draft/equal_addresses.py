"""Sets of sockets that no selector distinguishes: addresses that are equal.

On port 0, where they are those of one listener, each asks the kernel for a port of its own; on
another they share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from envoyassert.draft.expected import SocketSet


def merged_sets(sets: Sequence[SocketSet]) -> Iterator[tuple[SocketSet, int, str]]:
    """Yield the sets that a draft describes, each for so many addresses, and how it takes them.

    Sets that are equal and on port 0 become one of which `each_address` is like it; others of one
    place become one with their sums, which says of options what they have in common.

    Args:
        sets: the sockets, per address.
    """
    groups: dict[object, list[SocketSet]] = {}
    for one in sets:
        name = one.name if one.address.port == 0 else ""
        groups.setdefault((name, one.address, one.protocol), []).append(one)
    for first, *others in groups.values():
        number = 1 + len(others)
        by_name = first.address.port == 0
        if not others:
            yield first, number, ""
        elif by_name and all(other == first for other in others):
            yield first, number, "each_address"
        else:
            yield _summed([first, *others]), number, "total" if by_name else ""


def _summed(sets: Sequence[SocketSet]) -> SocketSet:
    first = sets[0]
    common = [o for o in first.options if all(one.options.count(o) == 1 for one in sets)]
    equal = all(one.options == first.options for one in sets)
    return replace(
        first,
        sockets=sum(one.sockets for one in sets),
        descriptors=_sum([one.descriptors for one in sets]),
        listens=_sum([one.listens for one in sets]),
        via="",
        options=first.options if equal else tuple(common),
        exact=equal and all(one.exact for one in sets),
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
