"""Where in a scenario file an atom of a verdict stands."""

from __future__ import annotations

from collections.abc import Callable

from envoyassert.report.failure import Place
from envoyassert.scenario.load import LoadedScenario


def place_finder(loaded: LoadedScenario) -> Callable[[tuple[str | int, ...]], Place | None]:
    """Return a function from the path of a finding to its place in the file."""

    def find(path: tuple[str | int, ...]) -> Place | None:
        line, column = loaded.mark(path)
        excerpt = loaded.excerpt(line, column).splitlines()
        return Place(str(loaded.path), line, column, tuple(excerpt))

    return find
