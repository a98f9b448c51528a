"""`envoyassert replay`: judge a saved trace."""

from __future__ import annotations

from pathlib import Path

import click

from envoyassert.cli import exits
from envoyassert.cli.judged import judged, plan_of_trace, say_differences
from envoyassert.cli.options import DRAWN, format_option, refuse_file
from envoyassert.cli.output import say, say_json, say_report
from envoyassert.cli.pictures import RUN_FORMATS, deliver, drawing, picture_option, refuse_part
from envoyassert.errors import guarded
from envoyassert.judge.left_open import FAILURES
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.certificate import certificate_part
from envoyassert.report.coverage import coverage, coverage_lines
from envoyassert.report.failure import RunContext, failure_lines
from envoyassert.report.headline import about, deciding, headline
from envoyassert.report.verdict_json import verdict_json
from envoyassert.scenario.plan import RunPlan
from envoyassert.shrink import shrink
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace, write_trace


@click.command()
@click.argument("trace", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--scenario",
    "scenario_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="The scenario whose expectations are judged.",
)
@click.option(
    "--run", "wanted", default="", metavar="RUN", help="Which run of it; default: the trace's own."
)
@format_option(more=tuple(RUN_FORMATS), to_file=DRAWN)
@click.option("--all", "everything", is_flag=True, help="Show every finding in full.")
@click.option(
    "--coverage",
    "uncovered",
    is_flag=True,
    help="Show which listeners, sockets and options no expectation constrains.",
)
@click.option(
    "--shrink",
    "excerpt",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the few events that show the first failure to FILE.",
)
@picture_option
def replay(
    trace: str,
    scenario_file: str,
    wanted: str,
    output: str,
    target: str | None,
    everything: bool,
    uncovered: bool,
    excerpt: str | None,
    part: str | None,
) -> int:
    """Judge a saved trace by a scenario.

    Needs neither root nor an Envoy; the scenario needs no section `envoy`. Where the trace is of
    another config, of other steps or of another Envoy than the scenario's, a note on standard error
    says so: expectations may have changed since, and are judged. Exit code: 0 pass, 1 fail, 10
    inconclusive.

    `--format html` makes one page that needs no network: what failed, as expected and as it is.

    Example: envoyassert replay trace.ndjson --scenario scenarios/istio_sidecar.yaml
    """
    refuse_file(output, target)
    refuse_part(output, part)
    read = read_trace(trace)
    plan = plan_of_trace(read, Path(scenario_file), wanted)
    say_differences(plan, read)
    verdict, graph, context = judged(read, plan, scenario_file, trace)
    missing = (
        guarded(
            lambda: coverage(read, graph, plan.expectations),
            lambda fault: say(f"the coverage: {fault}", err=True),
        )
        if uncovered
        else None
    )
    if output in RUN_FORMATS:
        from envoyassert.picture.run import run_picture

        picture = run_picture(read, graph, verdict, context, title=Path(trace).name)
        deliver(drawing(output, part)(picture), target)
    elif output == "json":
        say_json(verdict_json(verdict, read, graph, context, missing))
    elif verdict.status is Status.PASS:
        certificate = certificate_part(verdict.certificate, full=True)
        say_report(headline(verdict, plan.id), *certificate)
    else:
        say_report(*failure_lines(verdict, read, graph, context, everything=everything))
    if missing is not None and output == "text":
        say(*coverage_lines(missing))
    if excerpt is not None:
        _write_excerpt(excerpt, read, plan, verdict, context)
    return exits.OF_STATUS[verdict.status]


def _write_excerpt(
    path: str, trace: Trace, plan: RunPlan, verdict: Verdict, context: RunContext
) -> None:
    """Write the events that show the first failure, and print how many there are.

    Raises:
        click.UsageError: there is no failure to show.
    """
    failed = [
        finding
        for finding in deciding(verdict, context.place)
        if finding.status in FAILURES and finding.path[0] == "expect"
    ]
    if not failed:
        raise click.UsageError(
            f"--shrink shows an expectation that failed, and the verdict is {verdict}"
        )
    found = shrink(
        trace,
        failed[0],
        plan.expectations,
        workers=trace.header.concurrency or plan.workers,
        assume=plan.scenario.assume,
    )
    write_trace(found, path)
    say(
        f"{path}: {len(found.events)} of {len(trace.events)} events show "
        f"{about(failed[0], trace.header.listeners)}",
        err=True,
    )
