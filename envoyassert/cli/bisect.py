"""`envoyassert bisect`: which version of Envoy was the first to fail a scenario, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envoyassert.cli import exits
from envoyassert.cli.options import launcher_option, untrusted_option
from envoyassert.cli.output import say
from envoyassert.cli.plans import choose_run, envoy_of
from envoyassert.cli.where import need_linux
from envoyassert.compare.diff_text import difference_lines
from envoyassert.compare.runs import (
    Boundary,
    GoodOrBad,
    Seen,
    bisect,
    differences_of,
    path_between,
    profiles_of,
)
from envoyassert.errors import EnvoyUnavailableError, LaunchError
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge, unexcused
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.headline import deciding, reason_line, sentence
from envoyassert.report.places import place_finder
from envoyassert.report.refusal import blame
from envoyassert.report.table import columns, count, wrapped
from envoyassert.scenario.load import LoadedScenario, load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RequirementUnmetError, RunPlan
from envoyassert.texts.findings import words_of
from envoyassert.versions import between, version_key

if TYPE_CHECKING:
    from envoyassert.probe import Probe


@click.command("bisect")
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False))
@click.option("--good", required=True, metavar="ENVOY", help="An Envoy that passes.")
@click.option("--bad", required=True, metavar="ENVOY", help="An Envoy that fails.")
@click.option(
    "--candidates",
    multiple=True,
    metavar="ENVOY[,ENVOY…]",
    help="Those in between, in their order, in one word or the option repeated. Default: the "
    "versions of the package index.",
)
@click.option(
    "--run", "wanted", default="", metavar="RUN", help="One run of the matrix (concurrency=2)."
)
@launcher_option
@untrusted_option
def bisect_command(
    scenario: str,
    good: str,
    bad: str,
    candidates: tuple[str, ...],
    wanted: str,
    launcher: Any,
    untrusted: bool,
) -> int:
    """Find the first Envoy that fails a scenario.

    What is different there is shown in words. An ENVOY is a version, an image or the path of an
    executable. Both ends are run first. One that cannot be judged (INCONCLUSIVE,
    unavailable) is skipped. With the newer Envoy as --good it finds where a fault was fixed. A
    known defect counts as the failure that it is.

    Exit code: 0 found; 4 the good end is not good, or the bad one not bad; 10 not known; 77
    machine not supported.

    Example: sudo envoyassert bisect scenarios/udp.yaml --good 1.36.4 --bad 1.40.0
    """
    good, bad = (str(envoy_of(end, f"--{name}")) for end, name in ((good, "good"), (bad, "bad")))
    if good == bad:
        raise click.UsageError(f"--good and --bad are the same: {good}")
    loaded = load_scenario(Path(scenario), untrusted=untrusted)
    expand(loaded, envoys=[envoy_of(good)])  # what is refused is shown before anything is run
    way = _way(good, bad, candidates)
    need_linux()
    from envoyassert.launch.sweep import sweep
    from envoyassert.probe import Probe

    sweep()
    with Probe.load() as probe:
        trial = _Trial(loaded, wanted, launcher, probe)
        trial.check(good, GoodOrBad.GOOD)
        trial.check(bad, GoodOrBad.BAD)
        boundary = bisect(way, trial.answer)
    say(*_report(trial, boundary, backwards=_is_backwards(good, bad)))
    return exits.INCONCLUSIVE if boundary.skipped else exits.PASSED


def _way(good: str, bad: str, candidates: tuple[str, ...]) -> list[str]:
    """Return the Envoys from good to bad, both included.

    Raises:
        click.UsageError: a candidate is none.
        EnvoyUnavailableError: the index cannot be asked for versions.
    """
    named = [word for text in candidates for word in re.split(r"[\s,]+", text) if word]
    if named:
        return path_between(
            good, bad, [str(envoy_of(word, "--candidates")) for word in dict.fromkeys(named)]
        )
    if envoy_of(good).version and envoy_of(bad).version:
        from envoyassert.launch.index import published_versions

        return between(published_versions(), good, bad)
    return [good, bad]


def _is_backwards(good: str, bad: str) -> bool:
    """Whether the newer of two versions is the good one."""
    old, new = envoy_of(bad).version, envoy_of(good).version
    return bool(old and new) and version_key(old) < version_key(new)


@dataclass
class _Tested:
    """What one Envoy did.

    Args:
        answer: what it is.
        reason: why it is bad, or was skipped; "" if it is good.
        seen: its runs by their matrix values, as far as they were judged.
        verdicts: the judgement of each.
    """

    answer: GoodOrBad
    reason: str = ""
    seen: dict[str, Seen] = field(default_factory=dict)
    verdicts: dict[str, tuple[RunPlan, Verdict]] = field(default_factory=dict)


@dataclass
class _Trial:
    """Runs a scenario on one Envoy after the other, and remembers what was seen."""

    loaded: LoadedScenario
    wanted: str
    launcher: Any
    probe: Probe
    tested: dict[str, _Tested] = field(default_factory=dict)

    def answer(self, envoy: str) -> GoodOrBad:
        """Return what an Envoy is, and print it."""
        tested = self._test(envoy)
        self.tested[envoy] = tested
        reason = f": {tested.reason}" if tested.reason else ""
        say(f"{envoy} {tested.answer.value}{reason}")
        return tested.answer

    def check(self, envoy: str, claim: GoodOrBad) -> None:
        """Run an end, and refuse it if it is not what the user says.

        Raises:
            click.UsageError: it is the opposite.
            click.exceptions.Exit: it is not known what it is.
        """
        answer = self.answer(envoy)
        if answer is claim:
            return
        option = f"--{claim.value}"
        if answer is GoodOrBad.SKIPPED:
            say(f"not known whether {option} {envoy} is {claim.value}", err=True)
            raise click.exceptions.Exit(exits.INCONCLUSIVE)
        raise click.UsageError(f"{option} {envoy} is not {claim.value}; there is nothing to find")

    def _test(self, envoy: str) -> _Tested:
        from envoyassert.runner import run_plan

        plans = expand(self.loaded, envoys=[envoy_of(envoy)])
        if self.wanted:
            plans = [choose_run(plans, self.wanted)]
        tested = _Tested(GoodOrBad.SKIPPED, "no run applies to it")
        unmet = ""
        for plan in plans:
            try:
                result = run_plan(plan, self.probe, self.launcher)
            except RequirementUnmetError as error:
                unmet = error.message
                continue
            except (EnvoyUnavailableError, LaunchError) as error:
                return _Tested(GoodOrBad.SKIPPED, error.message)
            graph = fold(result.trace)
            verdict = judge(
                result.trace,
                unexcused(result.plan.expectations),
                workers=plan.workers,
                assume=plan.scenario.assume,
                graph=graph,
            )
            title = ", ".join(f"{axis}={text}" for axis, text in plan.matrix_text.items())
            tested.seen[title] = Seen(verdict.status, profiles_of(result.trace, graph))
            tested.verdicts[title] = (result.plan, verdict)
        if not tested.verdicts:
            return _Tested(GoodOrBad.SKIPPED, unmet or tested.reason)
        return _answered(tested)


def _answered(tested: _Tested) -> _Tested:
    """Return the answer of all runs together: one that fails is enough to be bad."""
    of_status: dict[Status, str] = {}
    for title, (plan, verdict) in tested.verdicts.items():
        trace = [*tested.seen[title].profiles.values()][-1].trace
        reason = reason_line(
            verdict,
            trace.end.outcome,
            place_finder(plan.loaded),
            blame(plan),
            trace.header.listeners,
        )
        of_status.setdefault(verdict.status, f"{title}: {reason}" if title else reason)
    if Status.FAIL in of_status:
        tested.answer, tested.reason = GoodOrBad.BAD, of_status[Status.FAIL]
    elif Status.INCONCLUSIVE in of_status:
        tested.reason = f"INCONCLUSIVE, {of_status[Status.INCONCLUSIVE]}"
    else:
        tested.answer, tested.reason = GoodOrBad.GOOD, ""
    return tested


def _report(trial: _Trial, boundary: Boundary, *, backwards: bool) -> Iterator[str]:
    good, bad = boundary.good, boundary.bad
    yield ""
    if boundary.skipped:
        unknown = ", ".join([*boundary.skipped, bad])
        yield from wrapped(
            f"the first bad one is one of {unknown}: {count(len(boundary.skipped), 'Envoy')} "
            f"could not be judged; {good} is good",
            hang="  ",
        )
    elif backwards:
        yield f"fixed in {good}: {bad} is the last bad one"
    else:
        yield f"the first bad one is {bad}: {good} is the last good one"
    yield from _expectations(trial.tested[good], trial.tested[bad], good)
    yield from ("", f"what is different on {bad} from {good}")
    together: dict[tuple[str, ...], list[str]] = {}
    for title, seen in trial.tested[bad].seen.items():
        before = trial.tested[good].seen.get(title)
        if before is not None:
            lines = tuple(difference_lines(differences_of(before, seen)))
            together.setdefault(lines, []).append(title or "the run")
    for shown, titles in together.items():
        yield from wrapped("; ".join(titles), "  ", "    ")
        yield from (f"    {line}" for line in shown)


def _expectations(good: _Tested, bad: _Tested, name: str) -> Iterator[str]:
    """Yield each expectation that fails, once, with what the good one did."""
    shown: set[tuple[str | int, ...]] = set()
    for title, (plan, verdict) in bad.verdicts.items():
        if verdict.status is not Status.FAIL:
            continue
        place = place_finder(plan.loaded)
        before = good.verdicts.get(title)
        for finding in deciding(verdict, place):
            if finding.path in shown:
                continue
            shown.add(finding.path)
            where = place(finding.path)
            yield from ("", f"{where}" if where else "the expectation")
            yield from wrapped(sentence(finding, plan.listeners), "  ", "    ")
            same = [f for f in before[1].findings if f.path == finding.path] if before else []
            if same:
                yield from columns([[f"{name}:", f"seen {words_of(same[0]).seen}"]], "  ")
