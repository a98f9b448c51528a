"""What came of the distributions, for people (Markdown)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Outcomes of an index of results, each with its column, in order.
_OUTCOMES = {
    "passed": "passed",
    "known_defect": "known defects",
    "failed": "failed",
    "inconclusive": "inconclusive",
    "error": "errors",
    "skipped": "skipped",
}
_FIRST = ("distribution", "Python", "bcc", "strace", "util-linux", "engine", "runs")


@dataclass(frozen=True)
class Row:
    """What came of one distribution.

    Args:
        name: as on the command line.
        versions: of `Python`, `bcc`, `strace`, `util-linux` and `engine`.
        exit_code: of `make run`, as a shell puts it; None if it was not reached.
        outcomes: how many runs had which outcome.
        took_s: of `make run` with the set-up, in seconds.
        reason: why there are no runs, or "".
        others: the runs that are neither passed nor as expected, each with its reason.
    """

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    reason: str = ""
    others: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether something was run and all of it was as expected."""
        return self.exit_code == 0 and bool(self.outcomes.get("passed"))


def row_of(
    name: str, versions: Mapping[str, str], exit_code: int, took_s: float, index: Mapping[str, Any]
) -> Row:
    """Return what came of one distribution.

    Args:
        name: as on the command line.
        versions: of what is installed there.
        exit_code: of `make run`.
        took_s: how long it took, in seconds.
        index: the results' index.json; {} if it wrote none.
    """
    outcomes: dict[str, int] = {}
    others = []
    for run in index.get("runs", ()):
        outcomes[run["outcome"]] = outcomes.get(run["outcome"], 0) + 1
        if run["outcome"] not in ("passed", "known_defect", "skipped"):
            others.append(f"{run['outcome']} {run['run']}: {run['reason']}")
    reason = "" if index.get("complete") else f"`make run` ended early, with {exit_code}"
    return Row(name, versions, exit_code, outcomes, took_s, reason, tuple(others))


def table_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a Markdown table, and below it what was not as expected."""
    head = (*_FIRST, *_OUTCOMES.values(), "minutes")
    yield _line(head)
    yield _line("---" for _ in head)
    remarks = []
    for row in rows:
        counts = [str(row.outcomes.get(outcome, 0)) for outcome in _OUTCOMES]
        versions = [row.versions.get(name, "-") or "-" for name in _FIRST[1:-1]]
        runs = str(sum(row.outcomes.values()))
        yield _line([row.name, *versions, runs, *counts, f"{row.took_s / 60:.1f}"])
        remarks += [f"- {row.name}: {text}" for text in (row.reason, *row.others) if text]
    if remarks:
        yield ""
        yield from remarks


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
