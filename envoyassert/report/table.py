"""Aligned columns and paragraphs of text, no wider than a page or a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

#: Of a page: what is printed where there is no terminal, and what is kept.
WIDTH = 100
#: Longest text in a column that is not the last: a Unix path may have 107 bytes.
_MAX_CELL = 44


def columns(
    rows: Sequence[Sequence[str]],
    indent: str = "",
    width: int = WIDTH,
    max_lines: int | None = None,
) -> list[str]:
    """Return rows as lines with aligned columns, the last one wrapped within `width`.

    Args:
        rows: cells; every row has the same number of them.
        indent: put before every line.
        width: greatest length of a line in characters.
        max_lines: greatest number of lines for a row; what is cut off is marked with `…`.
    """
    if not rows:
        return []
    rows = [[*(_cut(cell) for cell in row[:-1]), row[-1]] for row in rows]
    sizes = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)][:-1]
    lead = sum(sizes) + 2 * len(sizes) + len(indent)
    room = max(width - lead, 20)
    lines = []
    for row in rows:
        cells = [cell.ljust(size) for cell, size in zip(row, sizes, strict=False)]
        head = indent + "".join(cell + "  " for cell in cells)
        tail = _wrapped(row[-1], room, max_lines)
        lines.append((head + tail[0]).rstrip())
        lines += [" " * lead + more for more in tail[1:]]
    return lines


def _wrapped(text: str, width: int, max_lines: int | None) -> list[str]:
    if len(text) <= width and text.isprintable():
        return [text]  # as nearly all are: to find out takes less than to wrap
    return textwrap.wrap(
        text, width, break_on_hyphens=False, max_lines=max_lines, placeholder=" …"
    ) or [""]


def _cut(cell: str) -> str:
    return cell if len(cell) <= _MAX_CELL else cell[: _MAX_CELL - 1] + "…"


def wrapped(
    text: str,
    indent: str = "",
    hang: str = "",
    max_lines: int | None = None,
    width: int = WIDTH,
) -> list[str]:
    """Return a paragraph as lines: `indent` before the first, `hang` before the others.

    Args:
        text: the paragraph.
        indent: what its first line starts with.
        hang: what its other lines start with.
        max_lines: greatest number of lines; what is cut off is marked with `…`.
        width: greatest length of a line in characters.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=hang,
        break_on_hyphens=False,
        max_lines=max_lines,
        placeholder=" …",
    ) or [indent]


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 socket`, `2 sockets`, `no sockets`."""
    word = noun if number == 1 else plural or f"{noun}s"
    return f"{number or 'no'} {word}"
