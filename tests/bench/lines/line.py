"""What a line of the table is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.bench.row import Row
from tests.bench.session import Session

Effort = Literal["quick", "usual", "full"]


@dataclass(frozen=True)
class Line:
    """One line: what it is called, how it is measured and how often.

    Args:
        name: what `--only` chooses it by.
        says: what it measures, for `--list`.
        measure: yields its rows; is given the session, the line's name and how many pairs to take.
        pairs: how many, by effort.
        opt_in: whether it is left out unless it is named, as it takes long.
    """

    name: str
    says: str
    measure: Callable[[Session, str, int], Iterator[Row]]
    pairs: dict[Effort, int]
    opt_in: bool = False


def pairs(quick: int, usual: int, full: int) -> dict[Effort, int]:
    """Return how many pairs to take, by effort."""
    return {"quick": quick, "usual": usual, "full": full}
