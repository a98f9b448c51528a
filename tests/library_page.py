"""What the page of the shipped scenarios says of them: `docs/library.md`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_PAGE = ROOT / "docs" / "library.md"
_SECONDS = re.compile(r"(\d+)s?`$")


class Wait(NamedTuple):
    """A wait that Envoy imposes on every run of a scenario.

    Args:
        file: name of the scenario's file, without its extension.
        timer: how the scenario sets the timer, as the page has it.
        seconds: how long the timer runs.
    """

    file: str
    timer: str
    seconds: int


def behaviours() -> list[list[str]]:
    """Return the cells of each row of the table of behaviours."""
    return [row for row in _rows() if row[0].isdigit()]


def waits(page: Path = _PAGE) -> list[Wait]:
    """Return the rows of the table of waits.

    Args:
        page: the page, of this checkout or of another.

    Raises:
        ValueError: a row names no whole number of seconds.
    """
    found = []
    for scenario, timer, *_ in (row for row in _rows(page) if row[0].startswith("[")):
        seconds = _SECONDS.search(timer)
        if seconds is None:
            raise ValueError(f"{page}: no seconds in {timer}")
        file = scenario.removeprefix("[").partition("]")[0]
        found.append(Wait(file, timer.strip("`"), int(seconds[1])))
    return found


def _rows(page: Path = _PAGE) -> list[list[str]]:
    lines = page.read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
