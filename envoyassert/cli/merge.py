"""`envoyassert merge`: the reports of several machines as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envoyassert.cli import exits
from envoyassert.cli.output import say

if TYPE_CHECKING:
    from envoyassert.outputs.merged import Merged


@click.command()
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    "output",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the merged report is written.",
)
def merge(directories: tuple[Path, ...], output: Path) -> int:
    """Merge the reports of several machines into one.

    Each DIR was written by `run --report` or `run --html`, with a part of the runs (--shard). The
    merged report has the runs in the order of the directories, with their documents, traces, logs
    and pages; index.html if one of them has pages; and durations.json, by which --durations-path
    makes parts that take equally long.

    Needs neither root nor an Envoy. Exit code: that of `run` for all the runs; 2 if a session did
    not come to its end or a part is missing, 4 if the reports cannot be merged.

    Example: envoyassert merge shard-1/ shard-2/ shard-3/ -o report
    """
    from envoyassert.outputs.atlas import INDEX as PAGE
    from envoyassert.outputs.merged import DURATIONS, MergeRefusedError, merge_reports
    from envoyassert.outputs.output import OutputRefusedError
    from envoyassert.report.results import INDEX, ResultsError

    try:
        merged = merge_reports(directories, output)
    except (MergeRefusedError, OutputRefusedError, ResultsError) as error:
        raise click.UsageError(str(error)) from error
    for path in merged.incomplete:
        say(f"incomplete: {path}: its session did not come to its end", err=True)
    for words in merged.missing:
        say(f"incomplete: {words}", err=True)
    say(*merged.index.summary)
    say(f"results: {output / INDEX}", f"durations: {output / DURATIONS}")
    if merged.has_pages:
        say(f"report: {output / PAGE}")
    return _code(merged)


def _code(merged: Merged) -> int:
    index = merged.index
    outcomes = {run.outcome for run in index.runs}
    lacks = bool(index.machine_errors or index.nothing_ran)
    if index.faults or index.scenario_errors:
        return exits.USAGE
    if merged.is_cut:
        return exits.INTERRUPTED
    if not index.complete and not outcomes & {"failed", "error"}:
        return exits.INTERRUPTED
    if lacks or outcomes & {"failed", "error", "inconclusive"}:
        return exits.of_outcomes(outcomes, of_machine=lacks)
    return exits.PASSED if index.runs else exits.NOTHING
