"""`plan` with a real Envoy, or with what was recorded of two: what their starts differ in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envoyassert.cli import exits
from envoyassert.cli.configs import expectations_of, is_scenario, plan_of_file
from envoyassert.cli.output import say
from envoyassert.cli.plan_inputs import Input, Taken
from envoyassert.cli.plans import envoy_of
from envoyassert.cli.where import need_linux
from envoyassert.compare.comparison import DIFFERENT, UNKNOWN, Comparison, compare_profiles
from envoyassert.compare.plan_text import listeners_changed, plan_json, plan_lines
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

if TYPE_CHECKING:
    from envoyassert.picture.pair import PairPicture

#: How a plan ends that has a verdict.
_OF_VERDICT = {exits.PASSED: 0, exits.FAILED: 1, exits.INCONCLUSIVE: 2}


def plans_of(taken: Taken, inputs: Sequence[Input]) -> tuple[RunPlan, RunPlan]:
    """Return what is to be run without the change, and with it.

    Args:
        taken: how the files are read.
        inputs: the files.

    Raises:
        ScenarioError: a file is not valid.
        click.UsageError: a change does not fit, or none or several runs do.
    """
    plan_of = functools.partial(
        plan_of_file,
        envoys=[envoy_of(taken.envoy)] if taken.envoy else [],
        wanted=taken.which,
        option="--which",
        served=taken.dump,
        pod=taken.pod,
        stand_in=taken.stand_in,
        untrusted=taken.untrusted,
    )
    plans = _plans([one.path for one in inputs], taken.concurrency, plan_of)
    new = plans[-1]
    try:
        for change in taken.changes:
            new = changed(new, change)
    except ChangeError as error:
        raise click.UsageError(f"--set: {error}") from error
    return plans[0], new


def _plans(
    paths: Sequence[Path], concurrency: int | None, plan_of: Callable[[Path], RunPlan]
) -> list[RunPlan]:
    known = {path: plan_of(path) for path in dict.fromkeys(paths)}
    plans = [known[path] for path in paths]
    if concurrency is None and not any(map(is_scenario, paths)):
        concurrency = min(plan.concurrency for plan in plans)  # what Envoy takes with either
    if concurrency is not None:
        plans = [replace(plan, concurrency=concurrency) for plan in plans]
    return plans


def run_both(plans: tuple[RunPlan, RunPlan], launcher: Any) -> tuple[Trace, Trace]:
    """Run both, and return what was recorded."""
    need_linux()
    from envoyassert.launch.sweep import sweep
    from envoyassert.probe import Probe
    from envoyassert.runner import run_plan

    sweep()
    with Probe.load() as probe:
        before, after = (run_plan(plan, probe, launcher).trace for plan in plans)
    return before, after


def read_both(inputs: Sequence[Input]) -> tuple[Trace, Trace]:
    """Return two traces that were recorded already.

    Raises:
        TraceFileError: a file is none.
    """
    before, after = (with_history(read_trace(str(one.path)), str(one.path)) for one in inputs)
    return before, after


class Compared:
    """Two starts, what they differ in, and what `--expect` says of the new one.

    Args:
        traces: the old one and the new one.
        names: theirs.
        expect: the file of expectations, None if there is none.
    """

    def __init__(
        self, traces: tuple[Trace, Trace], names: tuple[str, str], expect: str | None
    ) -> None:
        self._traces = traces
        before, self._trace = traces
        self._names = names
        for one in dict.fromkeys((*before.header.stood_in, *self._trace.header.stood_in)):
            say(f"stood in: {one}", err=True)
        self._verdict = None
        assume: tuple[str, ...] = ()
        if expect is not None:
            wanted = expectations_of(Path(expect), self._trace.header)
            assume = wanted.scenario.assume
            self._graph = profile_of(self._trace).graph
            self._verdict = judge(
                self._trace,
                wanted.expectations,
                workers=self._trace.header.concurrency or wanted.workers,
                assume=assume,
                graph=self._graph,
            )
            self._context = RunContext(title=wanted.id, place=place_finder(wanted.loaded))
        profiles = [profile_of(trace, assume=assume) for trace in traces]
        self._comparison: Comparison = compare_profiles(profiles[0], profiles[1])

    @property
    def came_up(self) -> bool:
        """Whether Envoy came up with the new one."""
        outcome = self._trace.end.outcome
        return outcome.running and outcome.live is not False

    @property
    def exit_code(self) -> int:
        """0 nothing changes, 1 something does, 3 Envoy does not come up, 2 not known.

        With a verdict: 0 as expected, 1 not, 2 inconclusive.
        """
        if self._verdict is not None:
            return _OF_VERDICT[exits.OF_STATUS[self._verdict.status]]
        if not self.came_up:
            return 3
        if self._comparison.result == UNKNOWN:
            return 2
        differs = self._comparison.result == DIFFERENT or listeners_changed(self._comparison)
        return 1 if differs else 0

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict."""
        return self._verdict is not None

    def lines(self, *, everything: bool) -> list[str]:
        """Return what differs, the verdict, and how Envoy ended if it did."""
        lines = plan_lines(self._comparison, *self._names, everything=everything)
        if not self.came_up:
            outcome = self._trace.end.outcome
            lines += [f"after: Envoy {outcome_in_words(outcome)}"]
            lines += [f"  {line}" for line in said_lines(outcome)]
        if self._verdict is not None and self._verdict.status is Status.PASS:
            lines.append(headline(self._verdict, self._context.title))
        elif self._verdict is not None:
            lines += failure_lines(self._verdict, self._trace, self._graph, self._context)
        return lines

    def picture(self, *, everything: bool) -> PairPicture:
        """Return both as they are drawn, with the same lines."""
        from envoyassert.picture.pair import pair_picture

        lines = self.lines(everything=everything)
        number = len(self._comparison.differences)
        return pair_picture(self._traces, self._names, self._comparison.result, lines, number)

    def verdict_in_words(self) -> tuple[Status, str] | None:
        """Return the verdict and its headline, None if there is none."""
        if self._verdict is None:
            return None
        return self._verdict.status, headline(self._verdict, self._context.title)

    def as_json(self) -> dict[str, Any]:
        """Return what differs as JSON types."""
        return plan_json(self._comparison, *self._names)

    def verdict_as_json(self) -> dict[str, Any] | None:
        """Return the verdict as JSON types, None if there is none."""
        if self._verdict is None:
            return None
        return verdict_json(self._verdict, self._trace, self._graph, self._context)
