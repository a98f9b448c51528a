"""What a line of the table is given to measure with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.builds import ROOT, Build, BuildError, build_of, kept_bytecode
from tests.bench.processes import Usage, run
from tests.bench.row import in_turn

T = TypeVar("T")


@dataclass
class Session:
    """One call of the bench.

    Args:
        against: the commit that is compared with.
        directory: for files of the measurements; removed at the end.
    """

    against: str
    directory: Path
    now: Build = field(default_factory=lambda: Build("now", ROOT))
    #: What one line measured and another shows too, by a name.
    shared: dict[str, Any] = field(default_factory=dict)
    _before: Build | BuildError | None = None

    @property
    def before(self) -> Build:
        """The state to compare with, made when it is first needed.

        Raises:
            BuildError: it cannot be made.
        """
        if self._before is None:
            try:
                self._before = build_of(self.against)
            except BuildError as error:
                self._before = error
        if isinstance(self._before, BuildError):
            raise self._before
        return self._before

    def pairs(self, count: int, measure: Callable[[Build], T]) -> tuple[list[T], list[T]]:
        """Measure both states in turn, after once each that does not count: see `alternated`.

        Returns:
            The figures of the state before, and those of this checkout.
        """
        before, now = self.before, self.now
        return alternated(count, lambda: measure(before), lambda: measure(now))

    def run(self, build: Build, *words: str, add_up: bool = False) -> Usage:
        """Run a build's `envoyassert` with these words in the directory of the measurements."""
        command = build.command(*words)
        return run(command, cwd=self.directory, env=kept_bytecode(), add_up=add_up)


def alternated(
    count: int, first: Callable[[], T], second: Callable[[], T], *, warm: bool = True
) -> tuple[list[T], list[T]]:
    """Measure two things in turn: A B, B A, A B, …

    Args:
        count: number of pairs, from 1.
        first: measures the one.
        second: measures the other.
        warm: measure each once before that, which does not count: it fills caches.

    Returns:
        The figures of each.
    """
    measures = (first, second)
    found: tuple[list[T], list[T]] = ([], [])
    for measure in measures if warm else ():
        measure()
    for order in in_turn(count):
        for side in order:
            found[side].append(measures[side]())
    return found
