"""`envoyassert import`: a bpftrace log into a trace file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from envoyassert.bpftrace.imported import notes_on, parse_bpftrace_log
from envoyassert.cli.configs import plan_of_file
from envoyassert.cli.options import trace_output_option
from envoyassert.cli.output import say
from envoyassert.ranges import MOST_WORKERS
from envoyassert.trace_file import read_lines, write_trace


@click.command(name="import")
@click.argument("log", type=click.Path(exists=True, dir_okay=False))
@trace_output_option
@click.option(
    "--envoy-version", default="", metavar="VERSION", help="Version of the Envoy that was watched."
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(1, MOST_WORKERS),
    required=True,
    help="The number of workers that it was started with.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="The config of that Envoy, a dump of it, or a scenario: which listeners it has.",
)
def import_log(
    log: str, output: str, envoy_version: str, concurrency: int, config: str | None
) -> None:
    """Turn a bpftrace log into a trace file.

    The log is one of the program that `envoyassert bpftrace-script` prints, or of the script that
    came before it. The trace says what the log did not observe. A loss makes it inconclusive, and
    so does the older script, which saw neither results, epoll nor losses, unless the scenario
    states what it assumes.

    Example: envoyassert import envoy.bpftrace.txt --concurrency 2 -o envoy.ndjson
    """
    lines = read_lines(log)
    trace = parse_bpftrace_log(lines, log, envoy_version=envoy_version, concurrency=concurrency)
    if config is not None:
        listeners = plan_of_file(Path(config)).listeners
        trace = replace(trace, header=replace(trace.header, listeners=listeners))
    write_trace(trace, output)
    say(f"{len(trace.events)} events written to {output}", err=True)
    for note in notes_on(trace, lines, log):
        say(f"note: {note}", err=True)
