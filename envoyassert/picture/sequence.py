"""What threads did to the sockets of listeners, in order: a few lines of calls, as a sequence.

Every format draws the same one. Calls of one kind that follow each other are one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from envoyassert.picture.map_parts import ADMIN, HOT_RESTART, MapListener
from envoyassert.picture.map_words import listener_name, socket_title
from envoyassert.picture.run import RunPicture
from envoyassert.picture.timeline import Band, CallMark, Timeline
from envoyassert.report.table import count

#: With more sockets than this each listener has one lifeline, for all of its sockets.
_MOST_SOCKETS = 6
#: More lines than this are counted, not drawn.
MOST_LINES = 120
#: More calls in a row than this are one line.
_MOST_IN_A_ROW = 3
#: A line of a lifeline's name that is longer is cut.
_MOST_CHARACTERS = 36


@dataclass(frozen=True)
class Lifeline:
    """A thread, or what it calls on.

    Args:
        id: of a thread, a kernel socket or a listener.
        lines: its name, and below it what else it is.
        is_thread: whether it calls.
    """

    id: str
    lines: tuple[str, ...]
    is_thread: bool


@dataclass(frozen=True)
class Line:
    """A call, several of one kind, or the end of a phase.

    Args:
        at: when, as text; "" for what is between calls.
        source, target: ids of lifelines; "" for the end of a phase.
        words: the call as strace prints it, or what it is.
        failed: whether it failed.
    """

    at: str
    source: str
    target: str
    words: str
    failed: bool = False


@dataclass(frozen=True)
class CallSequence:
    """All of it.

    Args:
        title: the run.
        lifelines: threads first.
        lines: in order.
        left_out: how many lines there would be more.
    """

    title: str
    lifelines: tuple[Lifeline, ...]
    lines: tuple[Line, ...]
    left_out: int


def sequence(picture: RunPicture) -> CallSequence:
    """Return what happened to the sockets of the listeners of the config.

    Those of the admin endpoint are shown where there are no others; Envoy's own for hot restart
    are not.

    Args:
        picture: the run.
    """
    found = [one for one in _at_any_time(picture) if one.kind != HOT_RESTART and one.sockets]
    listeners = [one for one in found if one.kind != ADMIN] or found
    sockets = {socket.id: listener for listener in listeners for socket in listener.sockets}
    whole = len(sockets) > _MOST_SOCKETS
    line = picture.timeline
    lines = list(_lines(line, sockets, whole=whole))
    shown = lines[:MOST_LINES]
    used = {one.source for one in shown} | {one.target for one in shown}
    threads = [
        Lifeline(lane.id, tuple(filter(None, (lane.label, lane.process))), True)
        for lane in line.lanes
        if lane.id in used
    ]
    targets = [*_whole(listeners)] if whole else [*_sockets(listeners)]
    lifelines = (*threads, *(one for one in targets if one.id in used))
    return CallSequence(picture.title, lifelines, tuple(shown), len(lines) - len(shown))


def _at_any_time(picture: RunPicture) -> Iterator[MapListener]:
    """Yield the listeners of each moment, each with its last state."""
    last = {one.id: one for drawn in picture.maps for one in drawn.listeners}
    yield from last.values()


def _sockets(listeners: Iterable[MapListener]) -> Iterator[Lifeline]:
    for listener in listeners:
        for socket in listener.sockets:
            title = socket_title(socket).removeprefix("kernel ")
            name, place = _cut(listener_name(listener)), _cut(socket.address)
            yield Lifeline(socket.id, (title, name, place), False)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _whole(listeners: Iterable[MapListener]) -> Iterator[Lifeline]:
    for listener in listeners:
        number = count(len(listener.sockets), "kernel socket")
        name, place = _cut(listener_name(listener)), _cut(listener.address)
        yield Lifeline(listener.id, (name, place, number), False)


def _lines(line: Timeline, sockets: dict[str, MapListener], *, whole: bool) -> Iterator[Line]:
    bands = [*line.bands]
    several = len(bands) > 1
    same: list[CallMark] = []
    for mark in line.marks:
        if mark.socket not in sockets or mark.kind in ("wait", "other", "task"):
            continue
        if mark.kind == "accept" and mark.failed:
            continue  # a listener is asked until it has no more: EAGAIN is the rule
        ended = [band for band in bands if band.end_ns <= mark.ts_ns]
        if ended or (same and not _is_same_kind(same[0], mark)):
            yield from _of_marks(line, same, sockets, whole=whole)
            same = []
        if several:
            yield from map(_end_of, ended)
        bands = bands[len(ended) :]
        same.append(mark)
    yield from _of_marks(line, same, sockets, whole=whole)
    if several:
        yield from map(_end_of, bands)


def _end_of(band: Band) -> Line:
    return Line("", "", "", f"end of {band.name}" + (f": {band.words}" if band.words else ""))


def _is_same_kind(one: CallMark, other: CallMark) -> bool:
    """Return whether two calls may be one line: workers accept by turns, and each has a line."""
    same_thread = one.kind == "accept" or one.lane == other.lane
    return same_thread and (one.kind, one.failed) == (other.kind, other.failed)


def _of_marks(
    line: Timeline, marks: list[CallMark], sockets: dict[str, MapListener], *, whole: bool
) -> Iterator[Line]:
    """Yield a line for each call, or for calls of a thread on one target together."""
    groups: dict[tuple[str, str], list[CallMark]] = {}
    for mark in marks:
        target = sockets[mark.socket].id if whole else mark.socket
        groups.setdefault((mark.lane, target), []).append(mark)
    most = max(map(len, groups.values()), default=0)
    if whole or most > _MOST_IN_A_ROW or (most > 1 and marks[0].kind == "accept"):
        for (lane, target), group in groups.items():
            first = group[0]
            name = first.text.partition("(")[0]
            words = first.text if len(group) == 1 else f"{name}() {count(len(group), 'time')}"
            yield Line(_at(line, first), lane, target, words, first.failed)
        return
    for mark in marks:
        yield Line(_at(line, mark), mark.lane, mark.socket, mark.text, mark.failed)


def _at(line: Timeline, mark: CallMark) -> str:
    if not line.has_times:
        return ""
    return f"{(mark.ts_ns - line.start_ns) / 1e6:+.3f} ms"
