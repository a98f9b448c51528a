"""What came of a corpus, for people (Markdown) and for machines (JSON)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tests.corpus.trial import Outcome, Result

FORMAT = "envoyassert-corpus/1"

_KINDS = ("bootstrap", "listeners")
_HEAD = (
    *("project", "files", "bootstraps", "listener sets", "drafted"),
    *(outcome.value for outcome in Outcome),
    *("with --stand-in", "plan: the same"),
)


def counts(results: Iterable[Result]) -> dict[str, int]:
    """Return how many files there are of each kind, drafted, of each outcome, and the same."""
    found: Counter[str] = Counter()
    for one in results:
        found.update(["files", one.outcome.value])
        found.update([one.kind] if one.kind else [])
        found.update(["drafted"] if one.drafted else [])
        found.update(["stood in"] if one.stood_in else [])
        found.update(["same"] if one.same else [])
    names = (
        "files",
        *_KINDS,
        "drafted",
        *(outcome.value for outcome in Outcome),
        "stood in",
        "same",
    )
    return {name: found[name] for name in names}


def by_project(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of each project, both in order."""
    found: dict[str, list[Result]] = {}
    for one in sorted(results, key=lambda one: (one.project.lower(), one.file)):
        found.setdefault(one.project, []).append(one)
    return found


def tried(results: Iterable[Result]) -> list[Result]:
    """Return those that Envoy does not refuse, and that hold a config."""
    aside = (Outcome.REFUSED, Outcome.NO_CONFIG)
    return [one for one in results if one.outcome not in aside]


def summary(results: Sequence[Result]) -> str:
    """Return in a sentence how many of the configs that Envoy takes pass as drafted."""
    parts = []
    for kind, words in zip(_KINDS, ("bootstraps", "listener sets and dumps"), strict=True):
        ours = [one for one in tried(results) if one.kind == kind]
        passed = sum(one.outcome is Outcome.PASSED for one in ours)
        share = f" ({100 * passed / len(ours):.1f} %)" if ours else ""
        parts.append(f"{passed} of {len(ours)} {words}{share}")
    return f"{' and '.join(parts)} that Envoy accepts pass as drafted."


def table_lines(results: Sequence[Result]) -> Iterator[str]:
    """Yield two Markdown tables: numbers by project, and each file that does not pass.

    Refused files are counted alone: their reasons are Envoy's.
    """
    yield _row(_HEAD)
    yield _row("---" for _ in _HEAD)
    projects = by_project(results)
    for name, ours in projects.items():
        yield _row([name, *map(str, counts(ours).values())])
    yield _row(["**all**", *map(str, counts(results).values())])
    others = [
        one for ours in projects.values() for one in tried(ours) if one.reason or one.difference
    ]
    if others:
        yield ""
        yield _row(("project", "file", "what came of it", "reason"))
        yield _row("---" for _ in range(4))
    for one in others:
        what = one.outcome.value if one.reason else "plan: a difference"
        yield _row((one.project, f"`{one.file}`", what, one.reason or one.difference))


def document(results: Sequence[Result], envoy: str) -> dict[str, Any]:
    """Return all of it as JSON types.

    Args:
        results: what came of each file.
        envoy: version of Envoy.
    """
    ordered = [one for ours in by_project(results).values() for one in ours]
    return {
        "format": FORMAT,
        "envoy": envoy,
        "all": counts(results),
        "projects": {name: counts(ours) for name, ours in by_project(results).items()},
        "files": [
            {
                "project": one.project,
                "file": one.file,
                "kind": one.kind,
                "outcome": one.outcome.value,
                "reason": one.reason,
                "drafted": one.drafted,
                "stood_in": one.stood_in,
                "same": one.same,
                "difference": one.difference,
                "took_s": round(one.took_s, 2),
            }
            for one in ordered
        ],
    }


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
