"""`envoyassert show`: print the story of a trace."""

from __future__ import annotations

import click

from envoyassert.cli.options import format_option
from envoyassert.cli.output import page_width, say_json, say_report
from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.trace_file import read_trace


@click.command()
@click.argument("trace", type=click.Path(exists=True, dir_okay=False))
@format_option()
def show(trace: str, output: str) -> None:
    """Print the story of a trace.

    The start-up in phases with every call, then every listening socket: descriptors, threads,
    options. It is as wide as the terminal, or as COLUMNS says.

    Needs neither root nor an Envoy.

    Example: envoyassert show trace.ndjson
    """
    read = read_trace(trace)
    graph = fold(read)
    story = story_of(read, graph, certify_phases(read, graph))
    if output == "json":
        say_json(story)
    else:
        say_report(*story_lines(story, page_width()))
