"""What one way of a change does to the kernel sockets of a listener, as a figure of one row."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from envoyassert.predict.effects import ListenerChange
from envoyassert.review.words import sockets_words

#: More than these are a number beside one box.
_MOST = 4
_SIZE, _STEP, _HEIGHT = 18, 22, 24

#: Colours come from the page, as those of the map.
MOVES_STYLE = """
.moves{display:inline-block;vertical-align:middle;max-width:100%;margin-right:.4rem}
.moves rect{fill:var(--soft);stroke:var(--ink);stroke-width:2}
.moves .closed rect{fill:none;stroke:var(--bad);stroke-dasharray:4 3}
.moves .made rect{stroke:var(--good)}
.moves .left rect{fill:none;stroke:var(--warn);stroke-dasharray:4 3}
.moves path{fill:none;stroke-width:2}
.moves .closed path{stroke:var(--bad)}
.moves .made path{stroke:var(--good)}
.moves .left path{stroke:var(--warn)}
.moves text{fill:var(--ink);font:600 12px system-ui,sans-serif}
"""
#: What is in a box: a cross, a plus, a bar; a socket that is kept is a plain one.
_SIGNS = {
    "kept": "",
    "closed": "M5 5l8 8M13 5l-8 8",
    "left": "M5 9h8",
    "made": "M9 4v10M4 9h10",
}


_MEANT = {
    "kept": "a plain box is a socket that is kept",
    "closed": "a box with a cross is a socket that is closed",
    "left": "a box with a bar is a socket that stays open unread",
    "made": "a box with a plus is a socket that is made",
}


def moves_legend(drawn: Iterable[ListenerChange | None]) -> str:
    """Return what the boxes mean that occur, "" for none.

    Args:
        drawn: all of which there is a figure.
    """
    found = {kind for one in drawn for kind, number in _counts(one).items() if number}
    return ", ".join(words for kind, words in _MEANT.items() if kind in found)


def _counts(one: ListenerChange | None) -> dict[str, int]:
    if one is None or {"kept", "closed", "kind"} & set(one.unknown):
        return {}
    return {"kept": one.kept, "closed": one.closed, "left": one.left, "made": one.made}


def moves_svg(one: ListenerChange | None) -> Markup:
    """Return the kernel sockets of a listener as boxes: kept, closed, left open, made.

    Args:
        one: what the way does to it; None, or nothing known of its sockets, for no figure.
    """
    parts, x = [], 1
    for kind, number in _counts(one).items():
        for _ in range(number if number <= _MOST else min(number, 1)):
            sign = Markup('<path d="{}"/>').format(_SIGNS[kind]) if _SIGNS[kind] else ""
            parts.append(
                Markup(
                    '<g class="{}" transform="translate({} 3)">'
                    '<rect width="{}" height="{}" rx="4"/>{}</g>'
                ).format(kind, x, _SIZE, _SIZE, sign)
            )
            x += _STEP
        if number > _MOST:
            parts.append(Markup('<text x="{}" y="17">×{}</text>').format(x, number))
            x += 14 + 8 * len(str(number))
    if not parts or one is None:
        return Markup("")
    svg = Markup(
        '<svg class="moves" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" '
        'aria-label="{2}">{3}</svg>'
    )
    return svg.format(x, _HEIGHT, f"{sockets_words(one)}", Markup("").join(parts))
