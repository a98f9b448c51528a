"""`envoyassert diff`: what differs between two traces, in words."""

from __future__ import annotations

import click

from envoyassert.cli.exits import OF_COMPARISON, DiffLikeCommand
from envoyassert.cli.options import DRAWN, format_option, refuse_file
from envoyassert.cli.output import say, say_json
from envoyassert.cli.pictures import PAIR_FORMATS, deliver
from envoyassert.compare.comparison import DIFFERENT, TOLERANCE_MS, compare_profiles
from envoyassert.compare.diff_text import diff_json, diff_lines
from envoyassert.compare.profile import profile_of
from envoyassert.durations import parse_duration
from envoyassert.judge.certificate import ASSUMABLE
from envoyassert.state import with_history
from envoyassert.trace_file import read_trace


@click.command(cls=DiffLikeCommand)
@click.argument("before", metavar="A", type=click.Path(exists=True, dir_okay=False))
@click.argument("after", metavar="B", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--tolerance",
    default=f"{TOLERANCE_MS:g}ms",
    show_default=True,
    metavar="DURATION",
    help="Show times that differ by more than this.",
)
@click.option("--fail-on-times", is_flag=True, help="Times that are shown count as differences.")
@click.option(
    "--assume",
    multiple=True,
    type=click.Choice([*ASSUMABLE]),
    help="Take this for granted of traces that did not observe it; may be repeated.",
)
@format_option(more=tuple(PAIR_FORMATS), to_file=DRAWN)
def diff(
    before: str,
    after: str,
    tolerance: str,
    fail_on_times: bool,
    assume: tuple[str, ...],
    output: str,
    target: str | None,
) -> int:
    """Show in words what differs between two traces.

    A is the old one, B the new one. Descriptor numbers, inodes, thread ids, the order of workers,
    run directories and ports that the kernel chose never differ.

    Needs neither root nor an Envoy. Exit code, as of diff(1): 0 the same, 1 different, 2 trouble;
    2 also where nothing differs for sure but a trace is incomplete. Times count only with
    --fail-on-times.

    `--format html` makes one page that needs no network: both maps of the sockets side by side.
    `svg` and `mermaid` are these maps alone, `markdown` is for a pull request.

    Example: envoyassert diff old.ndjson new.ndjson
    """
    refuse_file(output, target)
    try:
        tolerance_ms = parse_duration(tolerance) * 1000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--tolerance") from error
    traces = [with_history(read_trace(path), path) for path in (before, after)]
    profiles = [profile_of(trace, assume=assume) for trace in traces]
    comparison = compare_profiles(profiles[0], profiles[1], tolerance_ms)
    if output in PAIR_FORMATS:
        from envoyassert.picture.pair import names_apart, pair_picture

        lines = diff_lines(comparison, before, after)
        names = names_apart(before, after)
        number = len(comparison.differences)
        pair = pair_picture((traces[0], traces[1]), names, comparison.result, lines, number)
        deliver(PAIR_FORMATS[output](pair), target)
    elif output == "json":
        say_json(diff_json(comparison, before, after))
    else:
        say(*diff_lines(comparison, before, after))
    if fail_on_times and comparison.times:
        return OF_COMPARISON[DIFFERENT]
    return OF_COMPARISON[comparison.result]
