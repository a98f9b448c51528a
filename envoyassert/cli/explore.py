"""`envoyassert explore`: configs made at random, the model against a real Envoy."""

from __future__ import annotations

import contextlib
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envoyassert.cli.exits import TROUBLE, DiffLikeCommand
from envoyassert.cli.output import say
from envoyassert.cli.plans import envoy_of
from envoyassert.cli.where import need_linux
from envoyassert.interrupts import heeded, is_repeated
from envoyassert.output_file import write_lines
from envoyassert.outputs.progress import LiveLine, is_terminal
from envoyassert.scenario.plan import DEFAULT_VERSION

if TYPE_CHECKING:
    from envoyassert.explore.case import Case
    from envoyassert.explore.search import Found, Search
    from envoyassert.explore.trial import Tried

_SEEDS = 1 << 31


@click.command(cls=DiffLikeCommand)
@click.option(
    "--minutes",
    metavar="N",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="No config is begun after these.",
)
@click.option(
    "--envoy",
    "version",
    default=DEFAULT_VERSION,
    show_default=True,
    metavar="VERSION",
    help="Version of Envoy.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Make the configs of a session.")
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write each new difference there, as a scenario.",
)
@click.option(
    "--with-crashes", is_flag=True, help="Also write scenarios by which Envoy crashes into DIR."
)
@click.option("--all-known", is_flag=True, help="List the known differences that were not met too.")
def explore(
    minutes: float,
    version: str,
    seed: int | None,
    directory: Path | None,
    with_crashes: bool,
    all_known: bool,
) -> int:
    """Search for what the model predicts wrongly.

    Bootstraps are made at random from the fields that decide about sockets. Listeners are pushed,
    drained and handed on by hot restarts, and Envoy is restarted. What Envoy does is compared with
    the prediction. Each difference is cut down to the smallest config that shows it. Known
    differences are counted alone. Needs Hypothesis: pip install 'envoyassert[explore]'.

    Exit code: 0 nothing new, 1 new differences, 2 trouble, or no config could be compared.

    Example: sudo envoyassert explore --minutes 10 -o differences
    """
    if with_crashes and directory is None:
        raise click.UsageError("--with-crashes goes with -o DIR")
    if not envoy_of(version, "--envoy").version:
        raise click.UsageError(f"--envoy {version}: the model needs a version, such as 1.40.0")
    need_linux()
    from envoyassert.explore.configs import cases
    from envoyassert.explore.difference import known_differences
    from envoyassert.explore.search import Search
    from envoyassert.explore.text import summary_lines
    from envoyassert.explore.trial import try_case
    from envoyassert.launch.sweep import sweep
    from envoyassert.probe import Probe

    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    known = known_differences()
    sweep()
    say(f"Envoy {version}, {minutes:g} minutes, seed {seed}")
    interrupted = False
    with Probe.load() as probe, _interruptible() as pressed:

        def attempt(case: Case) -> Tried:
            if pressed:
                raise KeyboardInterrupt
            return try_case(case, version, probe)

        ends_s = time.monotonic() + minutes * 60
        search = Search(attempt, known, version, ends_s)
        with _progress(search) as line:
            try:
                for found in search.rounds(cases(version), seed):
                    if line is not None:
                        line.hide()
                    _report(found, len(search.counts.found), version, seed, directory, with_crashes)
                    if line is not None:
                        line.show()
            except KeyboardInterrupt:
                interrupted = True
    say(*summary_lines(search.counts, known if all_known else ()))
    if interrupted:
        say("interrupted", err=True)
        return TROUBLE
    if not search.counts.compared:
        say("no config was compared", err=True)
        return TROUBLE
    return 1 if search.counts.found else 0


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Note each interrupt, beside raising it: in a callback of Hypothesis no one catches it."""
    pressed: list[int] = []

    def interrupt(number: int, _: object) -> None:
        pressed.append(number)
        if number == signal.SIGINT or not is_repeated():
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in heeded()}
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(
    found: Found,
    number: int,
    version: str,
    seed: int,
    directory: Path | None,
    with_crashes: bool,
) -> None:
    """Print a difference, and write its scenario if it is to be written."""
    from envoyassert.explore.text import difference_lines, file_name, scenario_lines

    say(*difference_lines(found))
    if found.crashed:
        say(f"  Envoy {version} crashed; what it was given is not shown")
    if directory is None or (found.crashed and not with_crashes):
        return
    name = file_name(found, number, seed)
    path = directory / f"{name}.yaml"
    write_lines(scenario_lines(found, name, version, seed), path)
    say(f"  wrote {path}")


@contextlib.contextmanager
def _progress(search: Search) -> Iterator[LiveLine | None]:
    """Show on a terminal how far a search is."""
    from envoyassert.explore.text import progress_text

    if not is_terminal():
        yield None
        return
    begun = time.monotonic()

    def text() -> str:
        what = "cutting a difference down" if search.is_cutting else "searching"
        return progress_text(search.counts, time.monotonic() - begun, what)

    line = LiveLine(text)
    line.show()
    try:
        yield line
    finally:
        line.close()
