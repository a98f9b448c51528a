"""`envoyassert import`: a bpftrace log into a trace file."""

from __future__ import annotations

import click

from envoyassert.bpftrace_log import parse_bpftrace_log
from envoyassert.cli.options import trace_output_option
from envoyassert.cli.output import say
from envoyassert.ranges import MOST_WORKERS
from envoyassert.trace_file import read_lines, write_trace


@click.command(name="import")
@click.argument("log", type=click.Path(exists=True, dir_okay=False))
@trace_output_option
@click.option("--envoy-version", default="", help="Version of the Envoy that was watched.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, MOST_WORKERS),
    required=True,
    help="The number of workers that it was started with.",
)
def import_log(log: str, output: str, envoy_version: str, concurrency: int) -> None:
    """Turn a bpftrace log into a trace file.

    Such a log did not observe results, epoll or losses; the trace says so, and judging it is
    inconclusive unless the scenario states what it assumes.

    Example: envoyassert import envoy.bpftrace.txt --concurrency 2 -o origin.ndjson
    """
    trace = parse_bpftrace_log(
        read_lines(log), log, envoy_version=envoy_version, concurrency=concurrency
    )
    write_trace(trace, output)
    say(f"{len(trace.events)} events written to {output}", err=True)
