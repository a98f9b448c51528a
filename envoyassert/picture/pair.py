"""Two runs side by side: both maps, and which listeners differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from envoyassert.graph.fold import fold
from envoyassert.picture.map_parts import HOT_RESTART, MapListener, SocketMap
from envoyassert.picture.socket_map import socket_map
from envoyassert.trace import Trace


@dataclass(frozen=True)
class ListenerPair:
    """One listener in both runs.

    Args:
        before, after: as it is in each; None where it is not there.
        differs: whether one would see a difference.
    """

    before: MapListener | None
    after: MapListener | None
    differs: bool

    @property
    def is_readdressed(self) -> bool:
        """Whether it is in both runs, at two addresses."""
        if self.before is None or self.after is None:
            return False
        return self.before.address != self.after.address


@dataclass(frozen=True)
class PairPicture:
    """Two runs.

    Args:
        names: what the runs are called, the old one first.
        result: `same`, `different` or `incomplete`.
        lines: what differs, in words.
        maps: the maps of both.
        listeners: those that differ first.
        differences: how many the lines have, times left out.
    """

    names: tuple[str, str]
    result: str
    lines: tuple[str, ...]
    maps: tuple[SocketMap, SocketMap]
    listeners: tuple[ListenerPair, ...]
    differences: int = 0

    @property
    def moved(self) -> tuple[ListenerPair, ...]:
        """The listeners that differ."""
        return tuple(pair for pair in self.listeners if pair.differs)


def pair_picture(
    traces: tuple[Trace, Trace],
    names: tuple[str, str],
    result: str,
    lines: list[str],
    differences: int = 0,
) -> PairPicture:
    """Return two runs side by side.

    Args:
        traces: the old one and the new one.
        names: what they are called.
        result: what the comparison of them came to.
        lines: what differs, in words.
        differences: how many these are, times left out.
    """
    one, other = (socket_map(trace, fold(trace)) for trace in traces)
    found: dict[tuple[str, int], list[MapListener | None]] = {}
    seen: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for place, picture in enumerate((one, other)):
        for listener in picture.listeners:
            if listener.kind != HOT_RESTART:
                name = listener.name or f"{listener.protocol} {listener.address}"
                # One that has several addresses is held against the other address by address.
                number = seen[place][name]
                seen[place][name] += 1
                found.setdefault((name, number), [None, None])[place] = listener
    pairs = [ListenerPair(a, b, _seen(a, one) != _seen(b, other)) for a, b in found.values()]
    pairs.sort(key=lambda pair: not pair.differs)
    return PairPicture(names, result, tuple(lines), (one, other), tuple(pairs), differences)


def names_apart(before: str, after: str) -> tuple[str, str]:
    """Return the ends of two paths, as short as they are different; as they are if they are not.

    Args:
        before: one path.
        after: the other.
    """
    parts = [path.split("/") for path in (before, after)]
    for taken in range(1, max(map(len, parts)) + 1):
        first, second = ("/".join(one[-taken:]) for one in parts)
        if first != second:
            return first, second
    return before, after


def _seen(listener: MapListener | None, picture: SocketMap) -> object:
    """Return what one sees of a listener, without the numbers that differ from run to run."""
    if listener is None:
        return None
    return (
        listener.protocol,
        listener.address,
        listener.way,
        listener.marks,
        [
            (
                socket.state,
                socket.backlog,
                socket.options,
                socket.marks,
                sorted(
                    (one.origin, one.open, sorted(picture.threads[t].role for t in one.threads))
                    for one in socket.descriptors
                ),
            )
            for socket in listener.sockets
        ],
    )
