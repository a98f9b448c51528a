"""`envoyassert attach`: record Envoys that something else starts, from their exec on."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envoyassert.cli import exits
from envoyassert.cli.draft import checked_name, draft
from envoyassert.cli.here import need_linux
from envoyassert.cli.judged import judged, plan_of_trace, say_differences
from envoyassert.cli.output import say
from envoyassert.durations import parse_duration
from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.judge.verdict import Status, worst
from envoyassert.live.selection import ENVOY, Selection
from envoyassert.output_file import check_output
from envoyassert.report.as_it_happens import HEADING, AsItHappens
from envoyassert.report.certificate import certificate_part
from envoyassert.report.failure import failure_lines
from envoyassert.report.headline import headline, why_ended
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.scenario.load import load_scenario
from envoyassert.trace import Trace
from envoyassert.trace_file import write_trace

if TYPE_CHECKING:
    from envoyassert.attach.recording import Recorded

#: How long `--exec-scenario` waits if nothing is said: a job that waits for ever says nothing.
_EXEC_FOR_S = 60.0


def _seconds(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return a duration, as scenarios have it, in seconds."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from error


@click.command()
@click.argument("command", metavar="[-- COMMAND…]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--exe",
    default=ENVOY,
    show_default=True,
    metavar="PATH|BASENAME",
    help="The executable: a path as it is executed, or the last part of it.",
)
@click.option(
    "--settle",
    "settle_s",
    metavar="DURATION",
    callback=_seconds,
    default="1s",
    show_default=True,
    help="How long nothing may change until an Envoy has settled.",
)
@click.option("--for", "for_s", metavar="DURATION", callback=_seconds, help="End after this time.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False),
    help="Judge by this scenario, which needs no section `envoy`.",
)
@click.option(
    "--exec-scenario",
    type=click.Path(exists=True, dir_okay=False),
    help="The same, and print the verdict alone, as `run` does; --for is 60s.",
)
@click.option("--run", "wanted", default="", help="Which run of the scenario's matrix.")
@click.option(
    "--draft",
    "drafted",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a scenario that expects what was seen.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Write the traces: to FILE, FILE_2 …, or to DIR/envoy_1.ndjson …",
)
@click.option(
    "--tracer",
    type=click.Choice(("ebpf", "strace")),
    default="ebpf",
    metavar="ebpf|strace",
    help="What records (default: ebpf); strace needs COMMAND.",
)
def attach(
    command: tuple[str, ...],
    exe: str,
    settle_s: float,
    for_s: float | None,
    scenario: str | None,
    exec_scenario: str | None,
    wanted: str,
    drafted: Path | None,
    output: Path | None,
    tracer: str,
) -> int:
    """Record an Envoy that something else starts, from its exec on.

    COMMAND is started and recorded with all that it starts, and stopped at the end; what it prints
    goes to standard error. The story is printed as it happens, then what `show` prints. An Envoy
    has settled when a thread waits on every listening socket and nothing changes.

    Exit code: 0 pass, or recorded without a scenario, 1 fail, 4 invalid usage or scenario, 5 no
    Envoy was seen, 10 inconclusive, 77 machine not supported.

    Example: sudo envoyassert attach -o up.ndjson -- envoy -c envoy.yaml --concurrency 2
    """
    need_linux()
    if not command:
        raise click.UsageError("what is to be recorded? Say -- COMMAND")
    judge_by = exec_scenario or scenario
    if exec_scenario and scenario:
        raise click.UsageError("--scenario means nothing beside --exec-scenario: leave out one")
    if judge_by:
        load_scenario(Path(judge_by), envoy={"config": {}})
    elif wanted:
        raise click.UsageError("--run goes with --scenario")
    if drafted is not None:
        checked_name(drafted, "--draft")
        check_output(drafted)
    if output is not None and not _is_directory(output):
        check_output(output)
    if exec_scenario and for_s is None:
        for_s = _EXEC_FOR_S
    quiet = exec_scenario is not None
    recorded = _record(Selection(exe=exe), command, tracer, _Printer(quiet), settle_s, for_s)
    if not recorded:
        say("nothing was recorded: the command executed no program", err=True)
        return exits.NOTHING
    statuses = [
        _report(one, number, len(recorded), output, drafted, judge_by, wanted, quiet=quiet)
        for number, one in enumerate(recorded, 1)
    ]
    judged_by = [status for status in statuses if status is not None]
    return exits.OF_STATUS[worst(judged_by)] if judged_by else exits.PASSED


def _record(
    selection: Selection,
    command: Sequence[str],
    tracer: str,
    printer: _Printer,
    settle_s: float,
    for_s: float | None,
) -> list[Recorded]:
    from envoyassert.attach.session import Ends, Session
    from envoyassert.probe import load_tracer, prepare_tracer

    prepare_tracer(tracer)
    session = Session(selection, Ends(settle_s, for_s), printer)
    with contextlib.closing(load_tracer(tracer)) as loaded, _ended_by_signals(session.stop):
        return session.record_command(command, loaded)


@contextlib.contextmanager
def _ended_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the session, and a second one interrupt."""

    def end(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Printer:
    """Prints the story while it happens."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._stories: dict[int, AsItHappens] = {}

    def armed(self) -> None:
        say("armed: waiting for Envoy", err=True)

    def seen(self, number: int, trace: Trace) -> None:
        if self._quiet:
            return
        with self._lock:
            if not self._stories:
                say(HEADING)
            story = self._stories.setdefault(number, AsItHappens())
            lines = story.lines(trace)
            if lines:
                say(*lines)
                sys.stdout.flush()


def _report(
    recorded: Recorded,
    number: int,
    count: int,
    output: Path | None,
    drafted: Path | None,
    scenario: str | None,
    wanted: str,
    *,
    quiet: bool,
) -> Status | None:
    """Print, write and judge one trace; return the verdict's status, None without a scenario."""
    trace = recorded.trace
    title = f"Envoy {number}" if count > 1 else "Envoy"
    graph = fold(trace)
    if not quiet:
        say("", *story_lines(story_of(trace, graph, certify_phases(trace, graph))))
    for note in recorded.notes:
        say(f"note: {title}: {note}", err=True)
    if not trace.end.outcome.running:
        say(f"note: {title} {why_ended(trace.end.outcome)}", err=True)
    elif not recorded.settled:
        say(f"note: {title} had not settled when the trace was taken", err=True)
    path = None if output is None else _numbered(output, number)
    if path is not None:
        write_trace(trace, path)
        say(f"{title}: {len(trace.events)} events written to {path}", err=True)
    if drafted is not None:
        _draft(trace, path, _numbered(drafted, number))
    if scenario is None:
        return None
    plan = plan_of_trace(trace, Path(scenario), wanted)
    say_differences(plan, trace)
    verdict, graph, context = judged(trace, plan, scenario, str(path or ""))
    if verdict.status is Status.PASS:
        lines = [headline(verdict, plan.id)]
        if not quiet:
            lines += certificate_part(verdict.certificate, full=True)
    else:
        lines = failure_lines(verdict, trace, graph, context)
    say("", *lines) if not quiet else say(*lines)
    return verdict.status


def _draft(trace: Trace, path: Path | None, scenario: Path) -> None:
    with contextlib.ExitStack() as stack:
        if path is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(directory, f"{scenario.name.partition('.')[0]}.ndjson")
            write_trace(trace, path)
        click.get_current_context().invoke(
            draft, source=str(path), arguments=(), output=scenario, pod=""
        )


def _is_directory(output: Path) -> bool:
    return output.is_dir() or not output.suffix


def _numbered(output: Path, number: int) -> Path:
    """Return the file of one of several: the first one has the name itself."""
    if _is_directory(output):
        return output / f"envoy_{number}.ndjson"
    if number == 1:
        return output
    stem, dot, rest = output.name.partition(".")
    return output.with_name(f"{stem}_{number}{dot}{rest}")
