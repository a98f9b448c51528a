"""One listener of a map as an SVG figure: its sockets, their descriptors, who waits on them.

Read from left to right: clients, kernel sockets, descriptors, epolls, threads. Shapes and labels
say what things are, colour repeats it: a copy has a second outline, what was received has a point,
what is closed is dashed, what is foreign is hatched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from envoyassert.picture.map_parts import (
    MapDescriptor,
    MapListener,
    MapSocket,
    Mark,
    SocketMap,
)
from envoyassert.picture.map_words import (
    answer,
    backlog_words,
    descriptor_words,
    listener_name,
    socket_title,
    state_words,
)
from envoyassert.report.table import count
from envoyassert.shown import shown

#: Width of a figure; it is legible on a telephone of 400 pixels.
WIDTH = 400
#: Places of the columns: sockets, descriptors, epolls, threads, each with its width.
_SOCKET, _FD, _EPOLL, _THREAD = (26, 148), (190, 64), (266, 52), (328, 70)
_ROW, _LINE, _GAP, _HEAD = 40, 15, 10, 20
#: A text of `size` pixels takes about this much of it for each character.
_CHARACTER = 0.53
#: More than these are counted, not drawn.
_MOST_SOCKETS, _MOST_ROWS = 8, 10

#: Colours come from the page: `--ink`, `--paper`, `--soft`, `--line`, `--good`, `--bad`, `--note`.
MAP_STYLE = """
.map{font-family:system-ui,sans-serif;font-size:11px;max-width:100%;height:auto;display:block}
.map text{fill:var(--ink)}
.map .b{font-weight:600;font-size:12px}
.map .s{font-size:10px}
.map .q{fill:var(--quiet)}
.map .r{fill:var(--bad);font-weight:600}
.map .box{fill:var(--soft);stroke:var(--ink);stroke-width:2}
.map .fd,.map .ep,.map .th{fill:var(--paper);stroke:var(--ink);stroke-width:1.3}
.map .th{fill:var(--soft)}
.map .behind{fill:var(--paper);stroke:var(--note);stroke-width:1.3}
.map .dup .fd{stroke:var(--note);stroke-width:1.8}
.map .got .fd{stroke:var(--good);stroke-width:1.8}
.map .edge{fill:none;stroke:var(--ink);stroke-width:1.3}
.map .port{fill:none;stroke:var(--ink);stroke-width:2.2}
.map .tip{fill:var(--ink);stroke:none}
.map .gone .box,.map .gone .fd,.map .gone .behind{stroke-dasharray:4 3;stroke:var(--quiet)}
.map .gone .box{fill:none}
.map .gone text{fill:var(--quiet)}
.map .alien .box{stroke:var(--bad);fill:var(--paper)}
.map .hatch{fill:none;stroke:var(--bad);stroke-opacity:.3;stroke-width:2}
.map .lost .box{stroke:var(--bad);stroke-dasharray:7 3}
.map .nothing{stroke:var(--bad);fill:none;stroke-width:1.6;stroke-dasharray:3 3}
.map.sketch .box,.map.sketch .fd,.map.sketch .th,.map.sketch .ep{stroke-dasharray:5 2}
.map .lit .box,.map .lit .fd{stroke:var(--mark);stroke-width:3.5}
"""


@dataclass(frozen=True)
class Figure:
    """A drawing of `WIDTH` by `height` pixels, and its markup without the element around it."""

    height: int
    inner: Markup


def listener_svg(listener: MapListener, picture: SocketMap, *, sketch: bool = False) -> Markup:
    """Return a listener as an SVG element, with its answer as the text alternative.

    Args:
        listener: the listener.
        picture: the map that it is of, for the names of threads.
        sketch: whether it is what was expected, and not what is there.
    """
    figure = listener_figure(listener, picture)
    return Markup(
        '<svg class="map{}" viewBox="0 0 {} {}" width="{}" role="img" aria-label="{}">{}</svg>'
    ).format(
        " sketch" if sketch else "",
        WIDTH,
        figure.height,
        WIDTH,
        shown(f"{listener_name(listener)} {listener.address}: {answer(listener, picture)}"),
        figure.inner,
    )


def listener_figure(listener: MapListener, picture: SocketMap) -> Figure:
    """Return a listener drawn from (0, 0) on; arguments as `listener_svg`."""
    if not listener.sockets:
        return _empty(listener)
    drawn, left = _chosen(listener.sockets)
    parts = [_heads(epolls=any(d.epolls for s in drawn for d in s.descriptors))]
    y, middles = _HEAD, []
    for socket in drawn:
        box = _Box(socket, picture, y)
        parts.append(box.markup())
        if socket.state != "CLOSED":
            middles.append(y + min(box.height // 2, 22))
        y += box.height + _GAP
    if left:
        words = f"and {count(len(left), 'more socket')}, drawn no more: see the text"
        parts.append(_text(_SOCKET[0], y + 8, words, "s q"))
        y += 18
    parts.append(_port(middles))
    return Figure(y - _GAP + 4, Markup("").join(parts))


def _chosen(sockets: Sequence[MapSocket]) -> tuple[list[MapSocket], list[MapSocket]]:
    """Return the sockets that are drawn, and the rest: closed ones go first."""
    if len(sockets) <= _MOST_SOCKETS:
        return list(sockets), []
    ranked = sorted(sockets, key=lambda s: (s.state == "CLOSED", Mark.LOST not in s.marks))
    kept = {id(socket) for socket in ranked[: _MOST_SOCKETS - 1]}
    drawn = [socket for socket in sockets if id(socket) in kept]
    return drawn, [socket for socket in sockets if id(socket) not in kept]


def _empty(listener: MapListener) -> Figure:
    x, width = _SOCKET
    words = "its bind failed" if listener.failed else "no kernel socket"
    box = Markup('<rect class="nothing" x="{}" y="{}" width="{}" height="40" rx="6"/>')
    parts = [
        _heads(),
        box.format(x, _HEAD, width),
        _text(x + 10, _HEAD + 24, words, "b r", width - 20),
        _port([_HEAD + 20], missing=True),
    ]
    return Figure(_HEAD + 46, Markup("").join(parts))


def _heads(*, epolls: bool = False) -> Markup:
    """Return what the columns are; a picture of what was not recorded has no epolls."""
    heads = [(0, "clients → kernel socket"), (_FD[0], "descriptor"), (_THREAD[0] + 16, "thread")]
    heads += [(_EPOLL[0] + 10, "epoll")] if epolls else []
    return Markup("").join(_text(x, 10, words, "s q") for x, words in heads)


class _Box:
    """A kernel socket with what hangs on it, from `y` down."""

    def __init__(self, socket: MapSocket, picture: SocketMap, y: int) -> None:
        self._socket = socket
        self._picture = picture
        self._y = y
        live = [d for d in socket.descriptors if d.open]
        self._closed = 0 if socket.state == "CLOSED" else len(socket.descriptors) - len(live)
        self._rows = list(self._descriptors(live or list(socket.descriptors)))
        self._lines = list(self._words())
        own = 12 + 16 + len(self._lines) * _LINE
        self.height = max(own, sum(max(1, len(d.threads)) for d in self._rows) * _ROW + 4)

    def _descriptors(self, found: Sequence[MapDescriptor]) -> Iterator[MapDescriptor]:
        rows = 0
        for one in found:
            rows += max(1, len(one.threads))
            if rows > _MOST_ROWS:
                break
            yield one
        self._left = len(found)

    def _words(self) -> Iterator[tuple[str, str]]:
        socket = self._socket
        yield state_words(socket), ""
        if words := backlog_words(socket):
            yield words, ""
        if socket.owner:
            yield f"of {socket.owner}", "r"
        if socket.queue:
            yield f"{socket.queue} waiting to be accepted", ""
        options = dict.fromkeys((one.name, one.value) for one in socket.options)
        names = [
            name if value == "1" else f"{name}={value}"
            for name, value in options
        ]  # fmt: skip
        yield from ((name, "q") for name in names[:4])
        if len(names) > 4:
            yield f"and {count(len(names) - 4, 'more option')}", "q"
        if Mark.SHARED in socket.marks and len({d.process for d in socket.descriptors}) > 1:
            yield "in several processes", ""
        if Mark.LOST in socket.marks:
            yield "no thread waits for clients", "r"
        if Mark.DOUBT in socket.marks:
            yield "not known for sure", "r"
        if self._closed:
            yield f"{count(self._closed, 'descriptor')} closed", "q"
        if self._left > len(self._rows):
            yield f"and {count(self._left - len(self._rows), 'more descriptor')}", "q"

    def markup(self) -> Markup:
        socket, y = self._socket, self._y
        x, width = _SOCKET
        names = {Mark.CLOSED: "gone", Mark.FOREIGN: "alien", Mark.LOST: "lost"}
        classes = " ".join(name for mark, name in names.items() if mark in socket.marks)
        parts = [
            Markup('<rect class="box" x="{}" y="{}" width="{}" height="{}" rx="7"/>').format(
                x, y, width, self.height
            ),
            _hatch(x, y, width, self.height) if Mark.FOREIGN in socket.marks else Markup(""),
            _text(x + 8, y + 18, socket_title(socket), "b", width - 14),
        ]
        for place, (words, kind) in enumerate(self._lines):
            parts.append(
                _text(x + 8, y + 34 + place * _LINE, words, f"s {kind}".strip(), width - 12)
            )
        top = y
        for one in self._rows:
            parts.append(self._descriptor(one, top))
            top += max(1, len(one.threads)) * _ROW
        return Markup('<g class="{}" data-socket="{}">{}</g>').format(
            f"sock {classes}".strip(), socket.id, Markup("").join(parts)
        )

    def _descriptor(self, one: MapDescriptor, top: int) -> Markup:
        x, width = _FD
        rows = max(1, len(one.threads))
        middle = top + rows * _ROW // 2
        classes = [
            name
            for mark, name in (
                (Mark.DUP, "dup"),
                (Mark.INHERITED, "got"),
                (Mark.CLOSED, "gone"),
            )
            if mark in one.marks
        ]
        parts = [_line(_SOCKET[0] + _SOCKET[1], middle, x, middle)]
        if Mark.DUP in one.marks:
            parts.append(_pill(x + 4, middle - 11, width, 30, "behind"))
        if Mark.INHERITED in one.marks:
            shape = Markup('<path class="fd" d="M{} {}l12 -15h{}v30h-{}z"/>')
            parts.append(shape.format(x - 6, middle, width - 6, width - 6))
        else:
            parts.append(_pill(x, middle - 15, width, 30, "fd"))
        origin = "origin ?" if one.origin == "unknown" else descriptor_words(one)
        label = "fd" if one.fd is None else f"fd {one.fd}"
        centre = x + width // 2
        shift = -2 if origin else 4
        parts.append(_text(centre, middle + shift, label, "b", width - 8, "middle"))
        if origin:
            parts.append(_text(centre, middle + 10, origin, "s", width - 6, "middle"))
        for place, name in enumerate(one.threads):
            parts.append(self._thread(one, name, middle, top + place * _ROW + _ROW // 2))
        if not one.threads and Mark.FOREIGN not in self._socket.marks:
            x = _FD[0] + _FD[1] + 10
            parts.append(_line(x - 10, middle, x - 3, middle))
            words = "no thread waits" if one.open else "closed"
            up = 0 if one.process else 4
            parts.append(_text(x, middle + up, words, "s q"))
            if one.process:
                parts.append(_text(x, middle + 11, f"in {_pid(one.process)}", "s q"))
        return Markup('<g class="{}" data-descriptor="{}">{}</g>').format(
            " ".join(["desc", *classes]), one.id, Markup("").join(parts)
        )

    def _thread(self, one: MapDescriptor, name: str, middle: int, y: int) -> Markup:
        thread = self._picture.threads[name]
        epoll = next(
            (e for e in one.epolls if name in self._picture.epolls[e].threads), None
        )  # fmt: skip
        start = _FD[0] + _FD[1] + (4 if Mark.DUP in one.marks else 0)
        x, width = _THREAD
        parts = []
        if epoll is None:
            parts.append(_line(start, middle, x, y))
        else:
            ex, size = _EPOLL
            parts += [
                _line(start, middle, ex, y),
                _line(ex + size, y, x, y),
                Markup('<ellipse class="ep" cx="{}" cy="{}" rx="{}" ry="12"/>').format(
                    ex + size // 2, y, size // 2
                ),
                _text(
                    ex + size // 2,
                    y + 3.5,
                    f"epfd {self._picture.epolls[epoll].fd}",
                    "s",
                    size - 2,
                    "middle",
                ),
            ]
        parts.append(
            Markup('<rect class="th" x="{}" y="{}" width="{}" height="32"/>').format(
                x, y - 16, width
            )
        )
        shift = -2 if thread.process else 4
        parts.append(_text(x + width // 2, y + shift, thread.label, "b", width - 4, "middle"))
        if thread.process:
            parts.append(
                _text(x + width // 2, y + 11, _pid(thread.process), "s", width - 4, "middle")
            )
        return Markup("").join(parts)


def _pid(process: str) -> str:
    """Return a process by its number: there is no room for the name of a step."""
    return f"pid {process.rpartition(' ')[2]}"


def _port(middles: Sequence[int], missing: bool = False) -> Markup:
    """Return how clients come in: a bar along the sockets of the port, with a tip into each."""
    if not middles:
        return Markup("")
    x, top, bottom = 8, middles[0], middles[-1]
    kind = "nothing" if missing else "port"
    parts = [Markup('<path class="{}" d="M{} {}V{}"/>').format(kind, x, top - 1, bottom + 1)]
    for y in middles:
        parts.append(Markup('<path class="{}" d="M{} {}H{}"/>').format(kind, x, y, _SOCKET[0] - 6))
        if not missing:
            parts.append(
                Markup('<path class="tip" d="M{} {}l-8 -5v10z"/>').format(_SOCKET[0] - 1, y)
            )
    return Markup("").join(parts)


def _hatch(x: int, y: int, width: int, height: int) -> Markup:
    """Return diagonals that fill a rectangle."""
    lines = []
    for place in range(9, width + height, 9):
        begin = f"M{x + max(0, place - height)} {y + min(place, height)}"
        lines.append(f"{begin}L{x + min(place, width)} {y + max(0, place - width)}")
    return Markup('<path class="hatch" d="{}"/>').format("".join(lines))


def _text(
    x: float, y: float, text: str, kind: str = "", width: float = 0, anchor: str = "start"
) -> Markup:
    """Return a text, cut where it would not fit; what was cut is in its title."""
    text = shown(text)
    size = 12 if "b" in kind.split() else 10 if "s" in kind.split() else 11
    room = int(width / (size * _CHARACTER)) if width else len(text)
    title = Markup("")
    if len(text) > room:
        title = Markup("<title>{}</title>").format(text)
        text = text[: max(room - 1, 1)] + "…"
    where = "" if anchor == "start" else Markup(' text-anchor="{}"').format(anchor)
    return Markup('<text x="{}" y="{}" class="{}"{}>{}{}</text>').format(
        x, y, kind, where, title, text
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> Markup:
    if y1 == y2:
        return Markup('<path class="edge" d="M{} {}H{}"/>').format(x1, y1, x2)
    return Markup('<path class="edge" d="M{} {}C{} {} {} {} {} {}"/>').format(
        x1, y1, x1 + 8, y1, x2 - 8, y2, x2, y2
    )


def _pill(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="{}"/>').format(
        kind, x, y, width, height, height // 2
    )
