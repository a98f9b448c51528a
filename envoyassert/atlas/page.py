"""An atlas for people: as a static page, and in the terminal a line for each scenario.

The page needs nothing but itself: styles and a small script are in it, and links are relative. It
can be read without the script, which only filters. Every text goes through the escaping of the
template engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from markupsafe import Markup

from envoyassert.atlas.model import Atlas, AtlasRun, AtlasState, in_order
from envoyassert.report.table import count
from envoyassert.static_page import content_policy, templates_of

#: What says in a page that it was made here.
GENERATOR = "envoyassert"


_TEMPLATES = templates_of("envoyassert.atlas")


def index_page(atlas: Atlas) -> str:
    """Return the page of the whole atlas."""
    script = _script()
    return _TEMPLATES.get_template("index.html.jinja").render(
        generator=GENERATOR,
        State=AtlasState,
        reasons=_reasons,
        title="Scenarios on Envoy",
        atlas=atlas,
        total=total(atlas),
        known=_known_defects(atlas),
        row_id=row_id,
        script=Markup(script),  # noqa: S704 - our own file
        policy=content_policy(script),
    )


def row_id(scenario: str) -> str:
    """Return the id of a scenario's row, by which its index can be opened there."""
    return f"scenario-{scenario}"


def is_index(text: str) -> bool:
    """Return whether the text of a page is that of an index made here."""
    return f'name="generator" content="{GENERATOR}' in text


def _reasons(runs: Sequence[AtlasRun]) -> list[tuple[str, AtlasState]]:
    """Return why runs did not pass, each reason once, those of the worst state first."""
    found = {run.explanation: (run.reason, run.state) for run in runs if run.reason}
    states = [*AtlasState]
    return sorted(found.values(), key=lambda one: states.index(one[1]))


@cache
def _script() -> str:
    return files("envoyassert.atlas").joinpath("index.js").read_text("utf-8")


def _known_defects(atlas: Atlas) -> list[dict[str, object]]:
    """Return each known defect that was seen, with the Envoys that have it."""
    # What was seen of a defect differs from run to run: the first run stands for all.
    found: dict[tuple[str, str], list[AtlasRun]] = {}
    for run in atlas.runs:
        if run.state is AtlasState.KNOWN_DEFECT:
            found.setdefault(run.explanation, []).append(run)
    return [
        {
            "scenario": scenario,
            "reason": runs[0].reason,
            "envoys": in_order(run.envoy for run in runs),
        }
        for (scenario, _), runs in sorted(found.items())
    ]


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
    parts = [f"{atlas.counts[state]} {state.value}" for state in AtlasState if atlas.counts[state]]
    axes = f"{count(len(atlas.scenarios), 'scenario')} on {count(len(atlas.envoys), 'Envoy')}"
    note = "" if atlas.complete else "; the session did not come to its end"
    return f"{count(len(atlas.runs), 'run')} of {axes}: {', '.join(parts) or 'none'}{note}"


def _troubles(atlas: Atlas) -> list[str]:
    lines = []
    for state in (
        AtlasState.FAILED,
        AtlasState.ERROR,
        AtlasState.INCONCLUSIVE,
        AtlasState.KNOWN_DEFECT,
    ):
        seen: dict[tuple[str, str], tuple[str, dict[str, None]]] = {}
        for run in atlas.runs:
            if run.state is state:
                text = f"{run.scenario}: {run.reason}"
                seen.setdefault(run.explanation, (text, {}))[1][run.envoy] = None
        for text, envoys in seen.values():
            lines.append(f"{state.value}: {text} ({', '.join(envoys)})")
    return ["", *lines, ""] if lines else [""]
