"""The same runs on two Envoys, for people and as JSON types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from envoyassert.compare.comparison import DIFFERENT, SAME, UNKNOWN
from envoyassert.compare.diff_json import difference_json, side_json, time_json
from envoyassert.compare.diff_text import difference_lines, time_lines
from envoyassert.compare.runs import SKIPPED, RunPair, RunSide, compared, overall, typical_times
from envoyassert.judge.verdict import Status
from envoyassert.report.table import columns, count, wrapped

FORMAT = "envoyassert-against/1"


def runs_lines(pairs: Sequence[RunPair], before: str, after: str) -> list[str]:
    """Return a table of all runs, what differs in words, and a last line with the answer.

    Args:
        pairs: the runs, in the order in which they are shown.
        before: the old Envoy.
        after: the new Envoy.
    """
    rows = [[before, after, "answer", "run"]]
    for pair in pairs:
        number = len(pair.differences)
        more = f": {count(number, 'difference')}" if number else ""
        rows.append([pair.before.text, pair.after.text, pair.result + more, pair.title])
    lines = columns(rows)
    for titles, shown in _together(pairs):
        lines += ["", *wrapped(", ".join(titles)), *(f"  {line}" for line in shown)]
    times = typical_times(pairs)
    if times:
        lines += ["", "times, medians of all runs", *time_lines(times)]
    return [*lines, "", *wrapped(answer_words(pairs, before, after), hang="  ")]


def _together(pairs: Sequence[RunPair]) -> list[tuple[list[str], tuple[str, ...]]]:
    """Return the titles of runs that differ in the same ways, with how."""
    found: dict[tuple[str, ...], list[str]] = {}
    for pair in pairs:
        lines = difference_lines(pair.differences)
        for problem in pair.problems:
            lines += wrapped(problem, hang="  ")
        if lines:
            found.setdefault(tuple(lines), []).append(pair.title)
    return [(titles, lines) for lines, titles in found.items()]


def answer_words(pairs: Sequence[RunPair], before: str, after: str) -> str:
    """Return the answer over all runs: `same: 48 runs on 1.36.4 and on 1.40.0`."""
    results = Counter(pair.result for pair in pairs)
    kinds = (SAME, DIFFERENT, UNKNOWN, SKIPPED)
    parts = [f"{results[name]} {name}" for name in kinds if results[name]]
    words = f"{compared(pairs)}: {count(len(pairs), 'run')} on {before} and on {after}"
    if len(parts) > 1:
        words += f" ({', '.join(parts)})"
    for status, verb in ((Status.FAIL, "fails"), (Status.INCONCLUSIVE, "leaves INCONCLUSIVE")):
        number = sum(pair.after.status is status for pair in pairs)
        if number:
            words += f"; {after} {verb} {count(number, 'run')}"
    return words


def runs_json(pairs: Sequence[RunPair], before: str, after: str) -> dict[str, object]:
    """Return the same as JSON types."""
    return {
        "format": FORMAT,
        "result": overall(pairs),
        "before": before,
        "after": after,
        "runs": [
            {
                "run": pair.title,
                "result": pair.result,
                "before": _side(pair.before, before),
                "after": _side(pair.after, after),
                "differences": [difference_json(one) for one in pair.differences],
                "problems": list(pair.problems),
            }
            for pair in pairs
        ],
        "times": [time_json(time) for time in typical_times(pairs)],
    }


def _side(side: RunSide, name: str) -> dict[str, object]:
    seen = {"name": name} if side.profile is None else side_json(side.profile, name)
    return {**seen, "verdict": side.text, "problem": side.problem}
