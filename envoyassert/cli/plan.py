"""`envoyassert plan`: what a change of a config does to each listener, before it is made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from envoyassert.cli import exits
from envoyassert.cli.configs import check_pair, expectations_of, is_scenario, plan_of_file
from envoyassert.cli.here import need_linux
from envoyassert.cli.options import (
    dump_options,
    format_option,
    launcher_option,
    refuse_beside,
    stand_in_option,
    untrusted_option,
)
from envoyassert.cli.output import say, say_json
from envoyassert.cli.plans import envoy_of
from envoyassert.cli.transition import WAYS, refuse_launcher, try_transitions
from envoyassert.compare.comparison import Comparison, compare_profiles
from envoyassert.compare.plan_text import plan_json, plan_lines
from envoyassert.compare.profile import profile_of
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status
from envoyassert.report.envoy_log import said_lines
from envoyassert.report.failure import RunContext, failure_lines
from envoyassert.report.headline import headline
from envoyassert.report.places import place_finder
from envoyassert.report.verdict_json import verdict_json
from envoyassert.scenario.change import ChangeError, changed
from envoyassert.scenario.plan import RunPlan
from envoyassert.state import with_history
from envoyassert.texts.findings import outcome_in_words
from envoyassert.trace import Trace
from envoyassert.trace_file import read_trace


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="OLD [NEW]")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change this in the new one: a field of every listener, a path, or concurrency.",
)
@click.option("--traces", is_flag=True, help="OLD and NEW are traces; nothing is run.")
@click.option(
    "--expect",
    type=click.Path(exists=True, dir_okay=False),
    help="Judge the new one by this scenario, or by a file with only `expect`.",
)
@click.option("--run", "wanted", default="", help="Which run of a scenario (concurrency=2).")
@click.option(
    "--concurrency",
    type=click.IntRange(0, 1024),
    help="Number of workers of both; default: as a scenario says, else as drafted.",
)
@dump_options("With bootstraps: a dump, whose listeners are served in their control planes' place.")
@stand_in_option
@launcher_option
@click.option("--envoy", metavar="VERSION|IMAGE|BINARY", help="Run both on this Envoy.")
@click.option(
    "--transition",
    type=click.Choice(WAYS),
    help="Really make the change, with clients on every listener, and report what they lost.",
)
@untrusted_option
@format_option(more=("markdown",))
def plan(
    files: tuple[str, ...],
    changes: tuple[str, ...],
    traces: bool,
    expect: str | None,
    wanted: str,
    concurrency: int | None,
    dump: Path | None,
    pod: str,
    stand_in: bool,
    launcher: Any,
    envoy: str | None,
    transition: str | None,
    untrusted: bool,
    output: str,
) -> int:
    """Show what a change of a config does to each listener.

    OLD and NEW are scenarios, or what `draft` takes: Envoy configs, dumps, traces; NEW may be left
    out for a --set. Both are run, as drafted, and sockets, descriptors, who serves, and options are
    shown before and after. With --traces both are recorded already: that needs neither root nor an
    Envoy.

    Exit code: 0 shown, and as expected; 1 the new one is not as --expect says, or Envoy does not
    come up with it; 4 invalid usage or file; 10 a trace is incomplete, or the judgement is
    inconclusive; 77 machine not supported.

    Example: sudo envoyassert plan envoy.yaml --set enable_reuse_port=false
    """
    check_pair(files, changes, traces)
    names = files[0], " ".join([files[-1], *(f"--set {change}" for change in changes)])
    if transition:
        refuse_beside("--transition", "traces", "expect")
        refuse_launcher(launcher)
    elif output == "markdown":
        raise click.UsageError("--format markdown goes with --transition")
    if traces:
        refuse_beside(
            "--traces", "wanted", "concurrency", "dump", "pod", "stand_in", "launcher", "envoy"
        )
        before, after = (with_history(read_trace(_existing(file)), file) for file in files)
    else:
        plan_of = functools.partial(
            plan_of_file,
            envoys=[envoy_of(envoy)] if envoy else [],
            wanted=wanted,
            served=dump,
            pod=pod,
            stand_in=stand_in,
            untrusted=untrusted,
        )
        plans = _plans(files, changes, concurrency, plan_of)
        if transition:
            need_linux()
            return try_transitions(plans, transition, names, output)
        before, after = _run_both(plans, launcher)
    for one in dict.fromkeys((*before.header.stood_in, *after.header.stood_in)):
        say(f"stood in: {one}", err=True)
    judgement = _Judgement(after, expect)
    comparison = compare_profiles(
        profile_of(before, assume=judgement.assume), profile_of(after, assume=judgement.assume)
    )
    if output == "json":
        data = {**plan_json(comparison, *names), "verdict": judgement.as_json()}
        say_json(data)
    else:
        lines = [*plan_lines(comparison, *names), *judgement.lines()]
        say(*lines)
    return judgement.exit_code(comparison)


def _existing(file: str) -> str:
    if not Path(file).is_file():
        raise click.UsageError(f"there is no file {file}")
    return file


def _plans(
    files: tuple[str, ...],
    changes: tuple[str, ...],
    concurrency: int | None,
    plan_of: Callable[[Path], RunPlan],
) -> tuple[RunPlan, RunPlan]:
    paths = [Path(_existing(file)) for file in files]
    known = {path: plan_of(path) for path in dict.fromkeys(paths)}
    plans = [known[path] for path in paths]
    if concurrency is None and not any(map(is_scenario, paths)):
        concurrency = min(plan.concurrency for plan in plans)  # what Envoy takes with either
    if concurrency is not None:
        plans = [replace(plan, concurrency=concurrency) for plan in plans]
    new = plans[-1]
    try:
        for change in changes:
            new = changed(new, change)
    except ChangeError as error:
        raise click.UsageError(f"--set: {error}") from error
    return plans[0], new


def _run_both(plans: tuple[RunPlan, RunPlan], launcher: Any) -> tuple[Trace, Trace]:
    need_linux()
    from envoyassert.launch.release import exit_on_sigterm
    from envoyassert.launch.sweep import sweep
    from envoyassert.probe import Probe
    from envoyassert.runner import run_plan

    exit_on_sigterm()
    sweep()
    with Probe.load() as probe:
        before, after = (run_plan(plan, probe, launcher).trace for plan in plans)
    return before, after


class _Judgement:
    """What `--expect` says of the new run.

    Args:
        trace: the new run.
        expect: the file, None if there is none.
    """

    def __init__(self, trace: Trace, expect: str | None) -> None:
        self._trace = trace
        self.assume: tuple[str, ...] = ()
        self._profile = profile_of(trace)
        self._verdict = None
        if expect is None:
            return
        wanted = expectations_of(Path(expect), trace.header)
        self.assume = wanted.scenario.assume
        self._graph = self._profile.graph
        self._verdict = judge(
            trace,
            wanted.expectations,
            workers=trace.header.concurrency or wanted.workers,
            assume=self.assume,
            graph=self._graph,
        )
        self._context = RunContext(title=wanted.id, place=place_finder(wanted.loaded))

    @property
    def _came_up(self) -> bool:
        outcome = self._trace.end.outcome
        return outcome.running and outcome.live is not False

    def lines(self) -> list[str]:
        """Return the verdict for people, and how Envoy came to grief if it did."""
        lines = []
        if not self._came_up:
            outcome = self._trace.end.outcome
            lines += [f"after: Envoy {outcome_in_words(outcome)}"]
            lines += [f"  {line}" for line in said_lines(outcome)]
        if self._verdict is not None and self._verdict.status is Status.PASS:
            lines.append(headline(self._verdict, self._context.title))
        elif self._verdict is not None:
            lines += failure_lines(self._verdict, self._trace, self._graph, self._context)
        return lines

    def as_json(self) -> dict[str, Any] | None:
        """Return the verdict as JSON types, None if there is none."""
        if self._verdict is None:
            return None
        return verdict_json(self._verdict, self._trace, self._graph, self._context)

    def exit_code(self, comparison: Comparison) -> int:
        """Return the exit code of the command."""
        if self._verdict is not None and self._verdict.status is not Status.PASS:
            return exits.OF_STATUS[self._verdict.status]
        if self._verdict is None and not self._came_up:
            return exits.FAILED
        whole = comparison.before.whole and comparison.after.whole
        return exits.PASSED if whole else exits.INCONCLUSIVE
