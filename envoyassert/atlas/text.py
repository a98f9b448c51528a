"""An atlas for the terminal: a line for each scenario, a column for each Envoy."""

from __future__ import annotations

from envoyassert.atlas.model import Atlas, RunState
from envoyassert.report.table import count


def atlas_lines(atlas: Atlas) -> list[str]:
    """Return the table, what did not go well, and how much changed from version to version."""
    rows = [["scenario", "launchers", "concurrency", *atlas.envoys]]
    for scenario in atlas.scenarios:
        runs = atlas.of_scenario(scenario)
        launchers = ", ".join(sorted({run.launcher for run in runs}))
        workers = " ".join(map(str, sorted({run.concurrency for run in runs})))
        cells = [atlas.cell(scenario, envoy).text for envoy in atlas.envoys]
        rows.append([scenario, launchers, workers, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += _troubles(atlas)
    for envoy in atlas.envoys[1:]:
        changes = atlas.changes_at(envoy)
        if changes:
            scenarios = len({change.scenario for change in changes})
            words = f"{count(scenarios, 'scenario')} {'differs' if scenarios == 1 else 'differ'}"
            lines.append(f"{changes[0].before} -> {envoy}: {words}")
    return [*lines, total(atlas)]


def total(atlas: Atlas) -> str:
    """Return how many runs ended how: `54 runs: 48 passed, 6 known defect`."""
    parts = [f"{atlas.counts[state]} {state.value}" for state in RunState if atlas.counts[state]]
    axes = f"{count(len(atlas.scenarios), 'scenario')} on {count(len(atlas.envoys), 'Envoy')}"
    note = "" if atlas.complete else "; the session did not come to its end"
    return f"{count(len(atlas.runs), 'run')} of {axes}: {', '.join(parts) or 'none'}{note}"


def _troubles(atlas: Atlas) -> list[str]:
    lines = []
    for state in (RunState.FAILED, RunState.ERROR, RunState.INCONCLUSIVE, RunState.KNOWN_DEFECT):
        seen: dict[tuple[str, str], tuple[str, dict[str, None]]] = {}
        for run in atlas.runs:
            if run.state is state:
                text = f"{run.scenario}: {run.reason}"
                seen.setdefault(run.explanation, (text, {}))[1][run.envoy] = None
        for text, envoys in seen.values():
            lines.append(f"{state.value}: {text} ({', '.join(envoys)})")
    return ["", *lines, ""] if lines else [""]
