"""`envoyassert attach`: record Envoys that something else starts, from their exec on."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envoyassert.cli import exits
from envoyassert.cli.attached import Asked, Reporter, is_directory
from envoyassert.cli.options import refuse_beside, seconds_of
from envoyassert.cli.output import say
from envoyassert.cli.selectors import SELECTORS, selector_options
from envoyassert.cli.where import need_linux
from envoyassert.errors import LaunchError
from envoyassert.interrupts import heeded, is_repeated
from envoyassert.judge.verdict import worst
from envoyassert.live.selection import ProcessSelection
from envoyassert.output_file import check_output
from envoyassert.trace import EACH, LAST, STARTUP

if TYPE_CHECKING:
    from envoyassert.attach.command import Stop
    from envoyassert.attach.session import Ends, Others
    from envoyassert.scenario.load import LoadedScenario

#: How long `--exec-scenario` waits if nothing is said: a job that waits for ever says nothing.
_EXEC_FOR_S = 60.0


@click.command()
@click.argument("command", metavar="[-- COMMAND…]", nargs=-1, type=click.UNPROCESSED)
@selector_options
@click.option(
    "--settle",
    "settle_s",
    default="1s",
    show_default=True,
    metavar="DURATION",
    callback=seconds_of,
    help="How long nothing may change until an Envoy has settled.",
)
@click.option(
    "--for", "for_s", metavar="DURATION", callback=seconds_of, help="End after this time at most."
)
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(1),
    help="End when so many Envoys have settled or ended; without it, when all have that were seen.",
)
@click.option("--forever", is_flag=True, help="Go on for further Envoys until Ctrl-C, or --for.")
@click.option(
    "--follow",
    is_flag=True,
    help="Go on once an Envoy has settled, until Ctrl-C, --for or its end; changes are phases.",
)
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
@click.option("--run", default="", metavar="RUN", help="Which run of the scenario's matrix.")
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
    default="",
    metavar="FILE|DIR",
    help="Write the traces: FILE, FILE_2 …, or one by one into DIR/.",
)
@click.option(
    "--records",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="So many records of each Envoy at most; after them nothing more of it is recorded.",
)
@click.option(
    "--cost", is_flag=True, help="First measure what a system call of all other processes pays."
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
    settle_s: float,
    for_s: float | None,
    count: int | None,
    forever: bool,
    follow: bool,
    scenario: str | None,
    exec_scenario: str | None,
    run: str,
    drafted: Path | None,
    output: str,
    records: int | None,
    cost: bool,
    tracer: str,
    **selectors: Any,
) -> int:
    """Record Envoys that something else starts, from exec on.

    It waits for a process that is all of what the options say, and records it and its children. Of
    several at once each has a trace of its own. The story is printed as it happens, then what
    `show` prints. An Envoy has settled when a thread waits on every listening socket and nothing
    changes. It is neither stopped nor changed.

    COMMAND is started, and stopped at the end; what it prints goes to standard error.

    Exit code: 0 pass, or recorded without a scenario, 1 fail, 4 invalid usage or scenario, 5 no
    Envoy was seen, 10 inconclusive, 77 machine not supported.

    Example: sudo envoyassert attach --pod istio-system/ingress --scenario up.yaml

    Example: sudo envoyassert attach -o up.ndjson -- envoy -c envoy.yaml --concurrency 2
    """
    need_linux()
    from envoyassert.attach.session import Ends

    selection = ProcessSelection(**selectors)
    _check_words(command, count, forever=forever, follow=follow, tracer=tracer)
    _check_selection(selection)
    if exec_scenario and scenario:
        raise click.UsageError("--scenario means nothing beside --exec-scenario: leave out one")
    if not (exec_scenario or scenario) and run:
        raise click.UsageError("--run goes with --scenario")
    judge_by = exec_scenario or scenario or ""
    if judge_by:
        from envoyassert.scenario.load import load_scenario

        _check_scenario(load_scenario(Path(judge_by), envoy={"config": {}}), run, follow=follow)
    if drafted is not None:
        from envoyassert.cli.draft import checked_name

        checked_name(drafted, "--draft")
        check_output(drafted)
    if output and not is_directory(output):
        check_output(output)
    if exec_scenario and for_s is None:
        for_s = _EXEC_FOR_S
    waits_for = command[0] if command else selection.in_words()
    asked = Asked(waits_for, output, drafted, judge_by, run, bool(exec_scenario), not command)
    ends = Ends(settle_s, for_s, count or 0, forever, follow, records)
    if tracer == "strace" and (records or cost):
        raise click.UsageError("--records and --cost are about the probes: leave out strace")
    return _attach(selection, command, ends, asked, tracer, cost=cost)


def _check_words(
    command: tuple[str, ...], count: int | None, *, forever: bool, follow: bool, tracer: str
) -> None:
    """Refuse options that do not go together. Raises click.UsageError."""
    if command:
        refuse_beside("COMMAND", "exe", *SELECTORS)
        if forever or count:
            raise click.UsageError("COMMAND is one recording: leave out --count and --forever")
    elif tracer == "strace":
        raise click.UsageError("strace records what it starts itself: say -- COMMAND")
    if forever:
        refuse_beside("--forever", "count")
    if follow:
        # An Envoy that is followed is not over once it has settled.
        refuse_beside("--follow", "count")


def _check_scenario(loaded: LoadedScenario, run: str, *, follow: bool) -> None:
    """Refuse what fits no Envoy, and phases that nothing would be recorded of.

    Raises:
        ScenarioError: it is not valid, whatever Envoy it is held against.
        click.UsageError: there is no such run, or no such phase.
    """
    if loaded.own_envoy:
        from envoyassert.cli.plans import choose_run
        from envoyassert.scenario.matrix import expand

        plans = expand(loaded)
        if run:
            choose_run(plans, run)
    later = [one.phase for one in loaded.scenario.expect]
    later = [name for name in later if name not in ("", STARTUP, EACH, LAST)]
    if later and not follow and not loaded.scenario.steps:
        raise click.UsageError(f"the phase {later[0]} comes after the start: say --follow")


def _check_selection(selection: ProcessSelection) -> None:
    """Refuse what the kernel cannot compare. Raises click.UsageError."""
    from envoyassert.probe.comparison import comparison
    from envoyassert.probe.pool import VARIABLES

    if len(selection.env) > VARIABLES:
        raise click.UsageError(f"--env is for {VARIABLES} variables at most")
    try:
        comparison(selection, records=1)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _attach(
    selection: ProcessSelection,
    command: tuple[str, ...],
    ends: Ends,
    asked: Asked,
    tracer: str,
    *,
    cost: bool,
) -> int:
    from envoyassert.attach.command import Stop
    from envoyassert.attach.place import missing
    from envoyassert.attach.session import AttachSession, running_already
    from envoyassert.probe import Probe, load_tracer, prepare_tracer

    # Before the probe is loaded, which may have to be compiled.
    if command and shutil.which(command[0]) is None:
        raise LaunchError(f"{command[0]} is no program that can be executed", "name one after --")
    prepare_tracer(tracer)
    stop = Stop()
    reporter = Reporter(asked)
    early: list[int] = []
    session = AttachSession(selection, ends, reporter, stop)
    with contextlib.closing(load_tracer(tracer)) as loaded, _ended_by_signals(stop):
        if cost:
            assert isinstance(loaded, Probe)
            say(f"armed, it costs {loaded.measure_cost().in_words()}", err=True)
        if command:
            session.record_command(command, loaded)
        else:
            assert isinstance(loaded, Probe)
            for what in missing(selection):
                say(f"note: {what}: waiting for one", err=True)
            early = running_already(selection)
            for pid in early:
                say(f"note: process {pid} runs already: its start is not seen", err=True)
            session.record_matching(loaded)
    return exit_code(reporter, selection, session.others, early)


def exit_code(
    reporter: Reporter, selection: ProcessSelection, others: Others, early: list[int]
) -> int:
    """Say what was not recorded, and return the exit code of a session.

    Args:
        reporter: what was recorded, and how it was judged.
        selection: what was meant.
        others: what was not recorded.
        early: processes that are meant and ran already.
    """
    if others.unplaced:
        gone = "not recorded: ended before the container was known"
        say(f"note: {_processes(others.unplaced)} {gone}", err=True)
    if others.missed:
        say(f"note: {_processes(others.missed)} missed: too many began at once", err=True)
    if not reporter.count:
        say(f"nothing was recorded: no {selection.in_words()} was started", err=True)
        if early:
            numbers = ", ".join(map(str, early))
            say(f"  process {numbers} had begun before: start it again to record it", err=True)
        if others.elsewhere:
            say(f"  others were, in {', '.join(others.elsewhere)}", err=True)
        if not (early or others.elsewhere or others.silent or others.unplaced):
            say("  an Envoy under another name is meant by --exe NAME", err=True)
        if others.silent:
            say(f"  {others.silent} only said something (--version, --mode validate)", err=True)
        return exits.NOTHING
    if not reporter.statuses:
        return exits.PASSED
    code = exits.OF_STATUS[worst(reporter.statuses)]
    # What was missed was judged by no one.
    missed = others.missed or others.unplaced
    return exits.INCONCLUSIVE if missed and code == exits.PASSED else code


def _processes(number: int) -> str:
    return "1 process was" if number == 1 else f"{number} processes were"


@contextlib.contextmanager
def _ended_by_signals(stop: Stop) -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the session, and a second one interrupt."""

    def end(number: int, _frame: object) -> None:
        again = number != signal.SIGINT and is_repeated()
        if stop.is_set() and number in (signal.SIGINT, signal.SIGTERM) and not again:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
