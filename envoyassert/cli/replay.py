"""`envoyassert replay`: judge a saved trace."""

from __future__ import annotations

import json
from pathlib import Path

import click

from envoyassert.cli import exits
from envoyassert.cli.options import format_option
from envoyassert.cli.plans import choose_run, run_of_trace
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.report.certificate import certificate_part
from envoyassert.report.coverage import coverage, coverage_lines
from envoyassert.report.failure import Context, failure_lines
from envoyassert.report.headline import headline
from envoyassert.report.places import place_finder
from envoyassert.report.verdict_json import verdict_json
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.trace_file import read_trace


@click.command()
@click.argument("trace", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--scenario",
    "scenario_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="The scenario whose expectations are judged.",
)
@click.option("--run", "wanted", default="", help="Which run of it; default: the trace's own.")
@format_option()
@click.option("--all", "everything", is_flag=True, help="Tell every finding in full.")
@click.option(
    "--coverage",
    "uncovered",
    is_flag=True,
    help="Tell which listeners, sockets and options no expectation constrains.",
)
def replay(
    trace: str, scenario_file: str, wanted: str, output: str, everything: bool, uncovered: bool
) -> int:
    """Judge a saved trace by a scenario.

    Needs neither root nor an Envoy. Exit code: 0 pass, 1 fail, 10 inconclusive.

    Example: envoyassert replay trace.ndjson --scenario scenarios/istio_sidecar.yaml
    """
    read = read_trace(trace)
    plans = expand(load_scenario(Path(scenario_file)))
    plan = choose_run(plans, wanted) if wanted else run_of_trace(plans, read.header)
    plan = plan.in_rundir(read.header.rundir or "${rundir}")
    graph = fold(read)
    verdict = judge(
        read,
        plan.expectations,
        workers=read.header.concurrency or plan.workers,
        assume=plan.scenario.assume,
        graph=graph,
    )
    context = Context(
        title=plan.id,
        place=place_finder(plan.loaded),
        scenario_path=scenario_file,
        trace_path=trace,
        replayed=True,
    )
    missing = coverage(read, graph, plan.expectations) if uncovered else None
    if output == "json":
        click.echo(json.dumps(verdict_json(verdict, read, graph, context, missing), indent=2))
    elif verdict.status is Status.PASS:
        lines = [headline(verdict, plan.id), *certificate_part(verdict.certificate, full=True)]
        click.echo("\n".join(lines))
    else:
        lines = failure_lines(verdict, read, graph, context, everything=everything)
        click.echo("\n".join(lines))
    if missing is not None and output != "json":
        click.echo("\n".join(coverage_lines(missing)))
    return exits.OF_STATUS[verdict.status]
