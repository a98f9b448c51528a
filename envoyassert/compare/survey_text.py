"""Many runs for people, in plain lines and in Markdown; and as JSON types.

Paths are not broken, so that they can be copied.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from envoyassert.compare.comparison import DIFFERENT
from envoyassert.compare.diff_text import difference_json, difference_lines
from envoyassert.compare.survey import EqualRuns, ListenerSet, SeenRun, Survey
from envoyassert.report.github_text import code_block, inline
from envoyassert.report.table import columns, count, wrapped

_LISTENERS = ["address", "sockets", "reach the workers by", "served by"]
#: Wide enough for any path.
_UNBROKEN = sys.maxsize


def survey_lines(survey: Survey) -> list[str]:
    """Return a heading, and for each set of listeners its sockets, its runs and what differs."""
    lines = wrapped(heading(survey), hang="  ")
    for number, one in enumerate(survey.sets, 1):
        lines += ["", *wrapped(_set_title(number, one), hang="  ")]
        lines += columns(_listener_rows(one), "  ")
        for group in one.groups:
            lines += ["", f"  {_group_title(group)}"]
            lines += columns(_run_rows(group.runs), "    ", _UNBROKEN)
            for note in _notes(group):
                lines += wrapped(note, "    ", "      ")
            lines += [f"    {line}" for line in _differences(group)]
    return lines


def survey_markdown(survey: Survey) -> list[str]:
    """Return the same as a Markdown document."""
    lines = [f"# {inline(heading(survey))}"]
    if survey.faults:
        lines += ["", *(f"- {inline(fault)}" for fault in survey.faults)]
    for number, one in enumerate(survey.sets, 1):
        lines += ["", f"## {inline(_set_title(number, one))}", ""]
        lines += _table(_listener_rows(one))
        for group in one.groups:
            lines += ["", f"### {inline(_group_title(group))}", "", *_table(_run_rows(group.runs))]
            notes = list(_notes(group))
            lines += ["", *(f"- {inline(note)}" for note in notes)] if notes else []
            differences = _differences(group)
            lines += ["", *code_block("\n".join(differences)).split("\n")] if differences else []
    return lines


def heading(survey: Survey) -> str:
    """Return what there is in a line: `3 traces, 1 set of listeners; 3 whole; 2 PASS, 1 FAIL`."""
    runs = survey.runs
    whole = sum(run.whole for run in runs)
    parts = [f"{count(len(runs), 'trace')}, {count(len(survey.sets), 'set')} of listeners"]
    if runs:
        rest = len(runs) - whole
        parts.append(f"{whole} whole" + (f", {rest} NOT whole" if rest else ""))
    words = Counter(run.judged.word for run in runs if run.judged is not None)
    if words:
        parts.append(", ".join(f"{number} {word}" for word, number in sorted(words.items())))
    if survey.faults:
        parts.append(f"{count(len(survey.faults), 'file')} not readable")
    return "; ".join(parts)


def _set_title(number: int, one: ListenerSet) -> str:
    listeners = count(len(one.listeners), "listener")
    return f"Set {number}: {listeners} in {count(len(one.runs), 'trace')}"


def _listener_rows(one: ListenerSet) -> list[list[str]]:
    """Return the rows of a table of listeners, as the first run has them."""
    return [
        _LISTENERS,
        *([x.title, str(x.sockets), x.reach or "-", x.served] for x in one.listeners),
    ]


def _group_title(group: EqualRuns) -> str:
    number, unsure = len(group.runs), sum(not run.whole for run in group.runs)
    title = count(number, "trace")
    if group.against is not None:
        perhaps = "" if group.against.result == DIFFERENT else "perhaps "
        title += f", {perhaps}different from the first group"
    elif number > 1:
        title += ", no difference"
    return title + (f" ({unsure} NOT whole, so not sure)" if unsure else "")


def _run_rows(runs: list[SeenRun]) -> list[list[str]]:
    head = ["Envoy", "workers", "sockets", "state", "certificate"]
    head += ["verdict"] if any(run.judged is not None for run in runs) else []
    rows = [[*head, "trace"], *(_run_cells(run) for run in runs)]
    for name in ("pod", "node"):
        places = [_place(name, run) for run in runs]
        if any(places):
            for row, cell in zip(rows, [name, *places], strict=True):
                row.insert(0, cell or "-")
    return rows


def _place(name: str, run: SeenRun) -> str:
    """Return where an Envoy ran that something else started, "" if it is not known."""
    where = run.header.where
    if name == "pod" and where.get("pod"):
        return f"{where.get('namespace', '')}/{where['pod']}"
    return where.get(name, "")


def _run_cells(run: SeenRun) -> list[str]:
    cells = [
        run.header.envoy.version or "?",
        str(run.workers or "?"),
        str(run.sockets),
        run.state,
        "whole" if run.whole else "NOT whole",
    ]
    cells += [] if run.judged is None else [run.judged.text or run.judged.word]
    return [*cells, run.path]


def _notes(group: EqualRuns) -> Iterator[str]:
    """Yield why certificates are not whole, and why runs did not pass; each reason once."""
    paths: dict[str, list[str]] = {}
    for run in group.runs:
        if not run.whole:
            paths.setdefault(run.certificate, []).append(run.path)
        if run.judged is not None and run.judged.reason:
            paths.setdefault(f"{run.judged.word}: {run.judged.reason}", []).append(run.path)
    for text, (first, *others) in paths.items():
        yield f"{first}{f' and {len(others)} more' if others else ''}: {text}"
    if group.against is not None and group.against.not_compared:
        yield f"not compared: {', '.join(group.against.not_compared)}"


def _differences(group: EqualRuns) -> list[str]:
    return [] if group.against is None else difference_lines(group.against.differences)


def _table(rows: list[list[str]]) -> Iterable[str]:
    head, *others = rows
    return [_row(head), _row("---" for _ in head), *(_row(map(inline, row)) for row in others)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


FORMAT = "envoyassert-report/1"


def survey_json(survey: Survey) -> dict[str, object]:
    """Return every run, which of them have the same listeners, and what differs between these."""
    return {
        "format": FORMAT,
        "traces": [_run(run) for run in survey.runs],
        "sets": [
            {
                "listeners": [one.title for one in found.listeners],
                "groups": [_group(group) for group in found.groups],
            }
            for found in survey.sets
        ],
        "faults": list(survey.faults),
    }


def _run(run: SeenRun) -> dict[str, object]:
    envoy = run.header.envoy
    return {
        "trace": run.path,
        "envoy": envoy.version,
        "build_id": envoy.build_id,
        "source": envoy.source,
        "image_digest": envoy.image_digest,
        "launcher": run.header.launcher,
        "where": dict(run.header.where),
        "scenario": run.header.scenario,
        "matrix": dict(run.header.matrix),
        "workers": run.workers,
        "state": run.state,
        "events": run.events,
        "listeners": [
            {
                "listener": one.title,
                "sockets": one.sockets,
                "reach": one.reach,
                "served_by": one.served,
                "hot_restart": one.own,
            }
            for one in run.listeners
        ],
        "sockets": run.sockets,
        "whole": run.whole,
        "certificate": run.certificate,
        "verdict": None if run.judged is None else run.judged.word,
        "reason": "" if run.judged is None else run.judged.reason,
    }


def _group(group: EqualRuns) -> dict[str, object]:
    against = group.against
    return {
        "traces": [run.path for run in group.runs],
        "sure": all(run.whole for run in group.runs),
        "differences": []
        if against is None
        else [difference_json(one) for one in against.differences],
        "not_compared": [] if against is None else list(against.not_compared),
    }
