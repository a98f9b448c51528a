"""Where in a scenario file an atom of a verdict stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from envoyassert.frozen import frozen
from envoyassert.scenario.load import LoadedScenario

if TYPE_CHECKING:
    from envoyassert.report.envoy_log import Reason


@frozen
class Place:
    """Where a scenario file says what was not met.

    Args:
        path: the file as the user named it.
        line, column: 1-based.
        excerpt: the line and its surroundings with a caret, as lines.
    """

    path: str
    line: int
    column: int
    excerpt: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


#: Returns the place of a finding's path; None where there is no file.
Finder: TypeAlias = Callable[[tuple["str | int", ...]], "Place | None"]

#: Returns what a reason of Envoy's means in its config, with the place; "" if that is not known.
Blame: TypeAlias = Callable[["Reason"], str]


def nowhere(_path: tuple[str | int, ...]) -> Place | None:
    """Return None: the finder of expectations that are in no file."""
    return None


def unblamed(_reason: Reason) -> str:
    """Return "": what blames nothing where there is no config."""
    return ""


def place_finder(loaded: LoadedScenario) -> Finder:
    """Return a function from the path of a finding to its place in the file."""

    def find(path: tuple[str | int, ...]) -> Place | None:
        line, column = loaded.mark(path)
        excerpt = loaded.excerpt(line, column).splitlines()
        return Place(str(loaded.path), line, column, tuple(excerpt))

    return find
