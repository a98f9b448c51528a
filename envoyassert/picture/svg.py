"""A run as one SVG file, for a page, a slide or a README: the map, or the sequence of calls.

It has colours and a background of its own for light and dark, loads nothing, and says in words what
it shows, for those who do not see it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator

from markupsafe import Markup

from envoyassert.picture.map_parts import MapListener, SocketMap
from envoyassert.picture.map_svg import MAP_STYLE, WIDTH, listener_figure
from envoyassert.picture.map_words import answer, for_clients, listener_name
from envoyassert.picture.pair import PairPicture
from envoyassert.picture.run import RunPicture
from envoyassert.picture.sequence import CallSequence, Lifeline, Line, sequence
from envoyassert.report.table import count
from envoyassert.shown import shown

_MARGIN = 16
#: Characters in a line below a listener's name, and of a call.
_LINE, _CALL = 62, 66
_ROW, _LANE, _HEAD = 38, 100, 62
#: Those of the page.
_STYLE = Markup("""
.picture{--ink:#1b1f24;--paper:#fff;--soft:#eef2f7;--quiet:#545d68;--line:#c3cad3;--good:#116329;
--bad:#b4232a;--note:#5b3ec2;--mark:#b35900;font-family:system-ui,sans-serif;font-size:11px}
@media (prefers-color-scheme:dark){.picture{--ink:#e6edf3;--paper:#0f141a;--soft:#1c2632;
--quiet:#a3b0bd;--line:#3b4754;--good:#56d364;--bad:#ff8d85;--note:#b9a5ff;--mark:#ffab4a}}
.picture text{fill:var(--ink)}
.picture .paper{fill:var(--paper)}
.picture .name{font-size:14px;font-weight:600}
.picture .first{font-weight:600}
.picture .small{font-size:10px}
.picture .quiet{fill:var(--quiet)}
.picture .head{fill:var(--soft);stroke:var(--ink);stroke-width:1.3}
.picture .socket{stroke-width:2.2}
.picture .lane{stroke:var(--line);stroke-width:1.3}
.picture .arrow{stroke:var(--ink);stroke-width:1.4;fill:none}
.picture .point{fill:var(--ink)}
.picture .bad{stroke:var(--bad)}
.picture .point.bad{fill:var(--bad)}
.picture text.bad{fill:var(--bad);stroke:none}
.picture .call{font-family:ui-monospace,monospace;font-size:10.5px}
.picture .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px}
.picture .phase{fill:var(--soft);stroke:var(--line)}
""")
_STYLE_OF_MAPS = Markup(MAP_STYLE) + _STYLE  # noqa: S704 - our own style


def map_svg(picture: SocketMap, listeners: Collection[str] | None = None, title: str = "") -> str:
    """Return a map as an SVG file: each listener with its sockets, one below the other.

    Args:
        picture: the map.
        listeners: the names of those that are drawn; None for all that clients reach.
        title: what it is of.
    """
    drawn = [one for one in for_clients(picture) if listeners is None or one.name in listeners]
    parts, words, y = [], [], _MARGIN
    for listener in drawn:
        figure, said, y = _listener(listener, picture, _MARGIN, y)
        parts.append(figure)
        words.append(said)
    if not drawn:
        parts.append(_text(_MARGIN, y + 12, "no listener", "name"))
        y += 2 * _MARGIN
    what = f"Sockets of {title}" if title else "Sockets"
    size = WIDTH + 2 * _MARGIN, y
    return _file(f"{what} {picture.when}", " ".join(words), size, parts, _STYLE_OF_MAPS)


def _listener(listener: MapListener, picture: SocketMap, x: int, y: int) -> tuple[Markup, str, int]:
    """Return a listener with its name and its answer, the same in words, and what is below it."""
    name = " ".join(filter(None, (listener_name(listener), listener.address)))
    said = answer(listener, picture)
    figure = listener_figure(listener, picture)
    parts = [_text(x, y + 12, _cut(name, 46), "name", whole=name)]
    y += 18
    for line in textwrap.wrap(shown(said), _LINE):
        parts.append(_text(x, y + 10, line, "quiet"))
        y += 15
    drawn = Markup('<g class="map" transform="translate({} {})">{}</g>')
    parts.append(drawn.format(x, y + 8, figure.inner))
    return Markup("").join(parts), f"{name}: {said}.", y + figure.height + 8 + 2 * _MARGIN


def pair_svg(picture: PairPicture) -> str:
    """Return two maps as an SVG file, side by side: the listeners that differ, or all if none does.

    Args:
        picture: both runs.
    """
    places = _MARGIN, WIDTH + 3 * _MARGIN
    parts, words = [], []
    for x, when, name in zip(places, ("Before", "After"), picture.names, strict=True):
        title = f"{when}: {name}"
        parts.append(_text(x, _MARGIN + 12, _cut(title, 46), "name", whole=title))
    y = 3 * _MARGIN
    for pair in picture.moved or picture.listeners:
        below = [y]
        for x, one, drawn in zip(places, (pair.before, pair.after), picture.maps, strict=True):
            if one is None:
                parts.append(_text(x, y + 12, "This listener is not there.", "quiet"))
                below.append(y + 2 * _MARGIN)
                continue
            figure, said, end = _listener(one, drawn, x, y)
            parts.append(figure)
            words.append(said)
            below.append(end)
        y = max(below)
    size = 2 * (WIDTH + 2 * _MARGIN), y
    what = f"Sockets of {picture.names[0]}, and of {picture.names[1]}: {picture.result}"
    return _file(what, " ".join(words), size, parts, _STYLE_OF_MAPS)


def sequence_svg(picture: RunPicture) -> str:
    """Return the calls on the sockets of listeners as an SVG file, in order from top to bottom.

    Args:
        picture: the run.
    """
    found = sequence(picture)
    width = max(WIDTH, len(found.lifelines) * _LANE) + 2 * _MARGIN
    height = _HEAD + 2 * _MARGIN + len(found.lines) * _ROW + (24 if found.left_out else 0)
    lines = [" ".join(filter(None, (one.at, one.words))) for one in found.lines]
    words = ". ".join([*lines, *([_more(found)] if found.left_out else [])])
    parts = list(_sequence(found, width, height))
    return _file(f"Calls of {found.title}", words, (width, height), parts)


def _sequence(found: CallSequence, width: int, height: int) -> Iterator[Markup]:
    places = {}
    step = (width - 2 * _MARGIN) / max(1, len(found.lifelines))
    for number, one in enumerate(found.lifelines):
        places[one.id] = x = _MARGIN + step * (number + 0.5)
        lane = Markup('<path class="lane" d="M{:.0f} {}V{}"/>')
        yield lane.format(x, _HEAD + _MARGIN, height - _MARGIN)
        yield from _head(one, x, min(step, 150) - 8)
    y = _HEAD + 2 * _MARGIN
    for line in found.lines:
        if line.source:
            yield from _call(line, places[line.source], places[line.target], y)
        else:
            yield _phase(line, width, y)
        y += _ROW
    if found.left_out:
        yield _text(_MARGIN, y + 4, _more(found), "quiet halo")
    if not found.lines:
        yield _text(_MARGIN, _MARGIN + 12, "no call on a socket for clients", "name")


def _more(found: CallSequence) -> str:
    return f"and {count(found.left_out, 'more line')}"


def _head(one: Lifeline, x: float, width: float) -> Iterator[Markup]:
    kind = "head" if one.is_thread else "head socket"
    box = Markup('<rect class="{}" x="{:.0f}" y="{}" width="{:.0f}" height="{}" rx="{}"/>')
    yield box.format(kind, x - width / 2, _MARGIN, width, _HEAD - 4, 0 if one.is_thread else 7)
    top = _MARGIN + 18 + (3 - len(one.lines[:3])) * 7
    for place, line in enumerate(one.lines[:3]):
        y = top + place * 14
        text = _cut(line, int(width / (7 if place == 0 else 5.9)))
        style = "first" if place == 0 else "small quiet"
        yield _text(x, y, text, style, anchor="middle", whole=line)


def _call(line: Line, source: float, target: float, y: float) -> Iterator[Markup]:
    bad = " bad" if line.failed else ""
    text = f"{line.at}  {line.words}" if line.at else line.words
    yield _text(_MARGIN, y, _cut(text, _CALL), f"call halo{bad}", whole=text)
    at = y + 11
    back = 6 if target > source else -6
    arrow = Markup('<path class="arrow{}" d="M{:.0f} {}H{:.0f}"/>')
    yield arrow.format(bad, source, at, target - back)
    point = Markup('<path class="point{}" d="M{:.0f} {}l{} -4.5v9z"/>')
    yield point.format(bad, target, at, -1.5 * back)


def _phase(line: Line, width: float, y: float) -> Markup:
    box = Markup('<rect class="phase" x="{}" y="{}" width="{:.0f}" height="24"/>')
    words = _cut(line.words, int((width - 3 * _MARGIN) / 6))
    text = _text(_MARGIN + 8, y + 4, words, whole=line.words)
    return box.format(_MARGIN, y - 12, width - 2 * _MARGIN) + text


def _cut(text: str, most: int) -> str:
    text = shown(text)
    return text if len(text) <= most else f"{text[: max(1, most - 1)]}…"


def _text(
    x: float, y: float, text: str, kind: str = "", anchor: str = "start", whole: str = ""
) -> Markup:
    """Return a text; where it was cut from a longer one, that is its title."""
    text, whole = shown(text), shown(whole)
    title = Markup("<title>{}</title>").format(whole) if whole not in ("", text) else ""
    return Markup('<text x="{:.0f}" y="{}" class="{}" text-anchor="{}">{}{}</text>').format(
        x, y, kind, anchor, title, text
    )


def _file(
    title: str, words: str, size: tuple[int, int], parts: list[Markup], style: Markup = _STYLE
) -> str:
    """Return an SVG document."""
    width, height = size
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {0} {1}" '
        'width="{0}" height="{1}" role="img" aria-labelledby="title desc">\n'
        '<title id="title">{2}</title>\n<desc id="desc">{3}</desc>\n<style>{4}</style>\n'
        '<rect class="paper" width="{0}" height="{1}"/>\n'
    )
    drawn = head.format(width, height, shown(title), shown(words), style)
    return f"{drawn}{Markup().join(parts)}\n</svg>"
