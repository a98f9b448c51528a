"""The rows as one table: for a terminal and as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tests.bench.machine import Machine
from tests.bench.row import Row, figure

_HEAD = ("what", "against", "pairs", "median", "quartiles", "target", "", "seen")
#: These columns are numbers.
_RIGHT = (2, 3, 4, 5)


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, as texts."""
    target = "" if row.limit is None else f"≤ {figure(row.limit, row.unit)}"
    if row.error:
        return (row.what, row.against, "", "", "", target, "error", row.error)
    spread = row.quartiles
    return (
        row.what,
        row.against,
        str(len(row.values)),
        figure(row.median, row.unit),
        "" if spread is None else " to ".join(figure(value, row.unit) for value in spread),
        target,
        "" if row.state == "info" else row.state,
        row.seen,
    )


def text_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table for a terminal, its columns aligned."""
    table = [_HEAD, *map(cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
    for line in table:
        padded = (
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(padded).rstrip()


def markdown_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table as Markdown."""
    yield _markdown(_HEAD)
    yield _markdown("---:" if column in _RIGHT else "---" for column in range(len(_HEAD)))
    for row in rows:
        yield _markdown(cell.replace("|", r"\|") for cell in cells(row))


def _markdown(cells_of_line: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells_of_line)} |"


def summary(rows: Sequence[Row]) -> str:
    """Return how many targets are met, in one line."""
    states = [row.state for row in rows]
    parts = [f"{states.count('met')} of {len(states) - states.count('info')} targets met"]
    parts += [f"{states.count(state)} {state}" for state in ("not met", "error") if state in states]
    return ", ".join(parts)


def document(rows: Sequence[Row], machine: Machine, against: str) -> dict[str, Any]:
    """Return everything as a JSON value; `rows_of` reads it."""
    described = [
        {**asdict(row), "state": row.state, "median": row.median if row.values else None}
        for row in rows
    ]
    return {"machine": asdict(machine), "against": against, "rows": described}


def rows_of(found: dict[str, Any]) -> list[Row]:
    """Return the rows of a document."""
    names = Row.__dataclass_fields__
    rows = [{name: row[name] for name in names} for row in found["rows"]]
    return [Row(**{**row, "values": tuple(row["values"])}) for row in rows]
