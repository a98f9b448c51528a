"""`envoyassert show`: print the story of a trace, or draw it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envoyassert.cli.options import DRAWN, format_option, refuse_file
from envoyassert.cli.output import page_width, say_json, say_report
from envoyassert.cli.pictures import RUN_FORMATS, deliver, drawing, picture_option, refuse_part
from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace

if TYPE_CHECKING:
    from envoyassert.picture.run import RunPicture


@click.command()
@click.argument("trace", type=click.Path(exists=True, dir_okay=False))
@format_option(more=tuple(RUN_FORMATS), to_file=DRAWN)
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False),
    help="With a format that draws: judge the trace by this, and draw the verdict.",
)
@click.option(
    "--run", "wanted", default="", metavar="RUN", help="Which run of it; default: the trace's own."
)
@picture_option
def show(
    trace: str,
    output: str,
    target: str | None,
    scenario: str | None,
    wanted: str,
    part: str | None,
) -> None:
    """Print the story of a trace.

    The start-up in phases with every call, then every listening socket: descriptors, threads,
    options. It is as wide as the terminal, or as COLUMNS says.

    `--format html` makes one page that needs no network: the verdict, a map of the sockets, a
    timeline of the calls, connections, the certificate.

    `svg` and `mermaid` are one picture, `markdown` is for a pull request, `perfetto` opens in
    Perfetto's UI.

    Needs neither root nor an Envoy.

    Example: envoyassert show trace.ndjson --format html -o run.html

    Example: envoyassert show trace.ndjson --format svg --picture sequence -o calls.svg
    """
    refuse_file(output, target)
    refuse_part(output, part)
    read = read_trace(trace)
    if output in RUN_FORMATS:
        draw = drawing(output, part)
        deliver(draw(_picture(read, trace, scenario, wanted)), target)
        return
    if scenario is not None or wanted:
        raise click.UsageError("--scenario goes with a format that draws: say --format html")
    graph = fold(read)
    story = story_of(read, graph, certify_phases(read, graph))
    if output == "json":
        say_json(story)
    else:
        say_report(*story_lines(story, page_width()))


def _picture(trace: Trace, path: str, scenario: str | None, wanted: str) -> RunPicture:
    from envoyassert.picture.run import run_picture

    if scenario is None:
        return run_picture(trace, fold(trace), title=Path(path).name)
    from envoyassert.cli.judged import judged, plan_of_trace, say_differences

    plan = plan_of_trace(trace, Path(scenario), wanted)
    say_differences(plan, trace)
    verdict, graph, context = judged(trace, plan, scenario, path)
    return run_picture(trace, graph, verdict, context, title=Path(path).name)
