"""`envoyassert report`: what is in a directory of traces."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from envoyassert.cli import exits
from envoyassert.cli.judged import plan_of_trace, verdict_on
from envoyassert.cli.options import format_option
from envoyassert.cli.output import say, say_json
from envoyassert.cli.plans import choose_run
from envoyassert.compare.survey import Judge, JudgedRun, Survey, survey
from envoyassert.compare.survey_text import survey_json, survey_lines, survey_markdown
from envoyassert.errors import FAULT, ScenarioError
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Status
from envoyassert.report.headline import reason_line
from envoyassert.report.places import place_finder
from envoyassert.report.refusal import blame
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.state import with_history
from envoyassert.steps.registry import unasked_outcome
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace

SUFFIX = ".ndjson"


@click.command()
@click.argument(
    "paths", metavar="DIR...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.option(
    "--scenario",
    "scenario_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Judge each trace by this scenario.",
)
@click.option(
    "--run", "wanted", default="", metavar="RUN", help="Which run of it; default: each trace's own."
)
@format_option(more=("markdown",))
def report(paths: tuple[Path, ...], scenario_file: Path | None, wanted: str, output: str) -> int:
    """Summarise the traces of a directory, of one node or many.

    Traces with the same listeners stand together, and of these what differs is shown as `diff`
    shows it. Files are traces by their name, *.ndjson; hidden files are left alone. A file that
    cannot be read is a line on standard error, and costs none of the others.

    Needs neither root nor an Envoy. Exit code: that of `run` for the verdicts; 0 without a
    scenario, 4 if a file could not be read or judged, 5 if there is no trace.

    Example: envoyassert report traces/ --scenario sidecar.yaml
    """
    if wanted and scenario_file is None:
        raise click.UsageError("--run goes with --scenario")
    judge = None if scenario_file is None else _judge_by(scenario_file, wanted)
    faults: list[str] = []
    files = dict.fromkeys(str(file) for file in _trace_files(paths, faults))
    if not files and not faults:
        say("no traces (*.ndjson) found", err=True)
        return exits.NOTHING
    found = survey(files, lambda file: with_history(read_trace(file), file), judge)
    found.faults[:0] = faults
    for fault in found.faults:
        say(*fault.split("\n"), err=True)
    if output == "json":
        say_json(survey_json(found))
    elif output == "markdown":
        say(*survey_markdown(found))
    else:
        say(*survey_lines(found))
    return _code(found)


def _trace_files(paths: Iterable[Path], faults: list[str]) -> Iterator[Path]:
    """Yield the traces that the paths name: files as they are, directories searched.

    Args:
        paths: what the user named.
        faults: gets a line for each directory that cannot be read.
    """

    def unreadable(error: OSError) -> None:
        faults.append(f"{error.filename}: error: cannot be read: {error.strerror}")

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for place, directories, files in os.walk(path, onerror=unreadable):
            directories[:] = sorted(name for name in directories if not name.startswith("."))
            for name in sorted(files):
                if name.endswith(SUFFIX) and not name.startswith("."):
                    yield Path(place, name)


def _judge_by(path: Path, wanted: str) -> Judge:
    # What is wrong with the scenario itself is said once, and before the work.
    loaded = load_scenario(path, envoy={"config": {}})
    # Without the section `envoy`, each trace says which listeners there are.
    if loaded.own_envoy:
        plans = expand(loaded)
        if wanted:
            choose_run(plans, wanted)

    def judge(trace: Trace, graph: SocketGraph) -> JudgedRun:
        try:
            plan = plan_of_trace(trace, path, wanted)
        except click.UsageError as error:
            return JudgedRun(None, reason=error.message)
        except ScenarioError as error:
            return JudgedRun(None, reason=str(error))
        verdict = verdict_on(trace, plan, graph)
        place, outcome = place_finder(plan.loaded), unasked_outcome(trace)
        reason = reason_line(verdict, outcome, place, blame(plan), trace.header.listeners)
        return JudgedRun(verdict.status, str(verdict), reason)

    return judge


def _code(found: Survey) -> int:
    """Return the exit code: the first that applies, as of `run`."""
    statuses = {run.judged.status for run in found.runs if run.judged is not None}
    if any(FAULT in fault for fault in found.faults):
        return exits.INTERNAL
    if found.faults or None in statuses:
        return exits.USAGE
    for status in (Status.FAIL, Status.INCONCLUSIVE):
        if status in statuses:
            return exits.OF_STATUS[status]
    return exits.PASSED
