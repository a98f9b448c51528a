"""The connections that each thread held over time, as an SVG figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from envoyassert.picture.connections import Held
from envoyassert.picture.timeline import Timeline
from envoyassert.shown import shown

_WIDTH, _ROW, _LEFT, _HEIGHT = 400, 44, 96, 30
HELD_STYLE = """
.held{font-family:system-ui,sans-serif;font-size:11px;max-width:100%;width:640px;height:auto}
.held text{fill:var(--ink)}.held .q{fill:var(--quiet);font-size:10px}
.held .area{fill:var(--note);fill-opacity:.25;stroke:var(--note);stroke-width:1.2}
.held .base{stroke:var(--line);fill:none}
"""


def held_svg(held: Sequence[Held], line: Timeline) -> Markup:
    """Return a row for each thread: how many connections it held from when to when.

    Args:
        held: what each thread held.
        line: the timeline of the run, for its clock.
    """
    times = [at for one in held for at, _ in one.changes]
    first, last = min(times), max([*times, *(mark.ts_ns for mark in line.marks[-1:])])
    span = max(last - first, 1)
    most = max(one.most for one in held)
    rows = [_row(one, place, first, span, most) for place, one in enumerate(held)]
    height = len(held) * _ROW + 18
    begin, end = ((at - line.start_ns) / 1e6 for at in (first, last))
    said = "; ".join(f"{one.label} {one.total}, at most {one.most} at once" for one in held)
    rows.append(
        Markup(
            '<text class="q" x="{}" y="{}">{:.1f} ms</text>'
            '<text class="q" x="{}" y="{}" text-anchor="end">{:.1f} ms</text>'
        ).format(_LEFT, height - 4, begin, _WIDTH - 34, height - 4, end)
    )
    return Markup(
        '<svg class="held" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, height, shown(f"Connections held over time: {said}"), Markup("").join(rows))


def _columns(one: Held, first: int, span: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield (column, number) where it changes: the greatest number of each column of pixels."""
    most: dict[int, int] = {}
    now = 0
    for at, number in one.changes:
        column = (at - first) * width // span
        most[column] = max(most.get(column, now), number)
        # A column that ends with fewer than it had leaves these to the next one.
        most[column + 1] = number
        now = number
    yield from sorted(most.items())


def _row(one: Held, place: int, first: int, span: int, most: int) -> Markup:
    base = place * _ROW + _HEIGHT + 6
    width = _WIDTH - _LEFT - 34
    who, _, process = one.label.partition(" ")
    path, level = [f"M{_LEFT} {base}"], float(base)
    for column, number in _columns(one, first, span, width):
        path.append(f"L{_LEFT + column} {level:.1f}")
        level = base - number * _HEIGHT / max(most, 1)
        path.append(f"L{_LEFT + column} {level:.1f}")
    path.append(f"L{_LEFT + width} {level:.1f}L{_LEFT + width} {base}z")
    return Markup(
        '<text x="0" y="{}">{}<tspan class="q" x="0" dy="12">{}</tspan></text>'
        '<path class="area" d="{}"/>'
        '<path class="base" d="M{} {}H{}"/><text class="q" x="{}" y="{}">{}</text>'
    ).format(
        base - 14,
        shown(who[:14]),
        shown(process[:18]),
        "".join(path),
        _LEFT,
        base,
        _LEFT + width,
        _LEFT + width + 4,
        base - 8,
        f"≤ {one.most}",
    )
