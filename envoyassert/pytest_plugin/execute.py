"""One run inside pytest: run it, judge it, keep what is needed to understand it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envoyassert.errors import JudgingError, LaunchError, MachineError
from envoyassert.graph.fold import fold
from envoyassert.guard import fault_words, guarded
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.outcomes import raise_unless_passed
from envoyassert.pytest_plugin.attempts import attempts_of
from envoyassert.pytest_plugin.evidence import Evidence, keep, reason_of
from envoyassert.pytest_plugin.session import session_of
from envoyassert.pytest_plugin.summary import SEPARATOR, replace_properties
from envoyassert.report.certificate import certificate_line
from envoyassert.report.changes import remedies
from envoyassert.report.coverage import coverage, coverage_lines
from envoyassert.report.failure import Context
from envoyassert.report.figures import figures_of
from envoyassert.report.headline import reason_line
from envoyassert.report.places import place_finder
from envoyassert.report.refusal import blame
from envoyassert.report.results import Attempt, EnvoyPart
from envoyassert.report.story import story_of
from envoyassert.report.story_text import story_lines
from envoyassert.report.verdict_json import judgement
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.requires import RequirementUnmetError
from envoyassert.shown import joined, shown

if TYPE_CHECKING:
    from envoyassert.probe import Tracer
    from envoyassert.pytest_plugin.collect import ScenarioItem


_STORY = ("setup", "story")
#: Title that pytest gives to the section of a report that tells the story of the run.
STORY = f"Captured {_STORY[1]} {_STORY[0]}"


class Judged:
    """A run with its verdict.

    Args:
        result: the run.
        item: the test.
    """

    def __init__(self, result: RunResult, item: ScenarioItem) -> None:
        self.result = result
        self._item = item
        self.notes: list[str] = []
        plan = result.plan
        self._context = Context(
            title=item.name,
            place=place_finder(plan.loaded),
            blame=blame(plan),
            scenario_path=str(plan.loaded.path),
        )
        try:
            self._graph = fold(result.trace)
            self.verdict: Verdict = judge(
                result.trace,
                plan.expectations,
                workers=plan.workers,
                assume=plan.scenario.assume,
                graph=self._graph,
            )
        except Exception as error:
            self._keep(item)
            kept = self._context.trace_path or "\n".join(self.notes)
            raise JudgingError(fault_words(error), f"trace: {kept}") from error
        # The trace comes first: no fault of what follows may cost it.
        if self.verdict.status is not Status.PASS or session_of(item.config).options.keep == "all":
            self._keep(item)
        found = remedies(
            self.verdict,
            result.trace,
            self._graph,
            plan.expectations,
            workers=plan.workers,
            assume=plan.scenario.assume,
            place=self._context.place,
        )
        self._context = dataclasses.replace(self._context, remedies=found)
        self._remember(item)

    def _keep(self, item: ScenarioItem) -> None:
        kept, note = keep(item, self.result.trace, self.result.log_text)
        self.notes += [note] if note else []
        self._context = dataclasses.replace(
            self._context, trace_path=kept.get("trace", ""), log_path=kept.get("log", "")
        )

    def _remember(self, item: ScenarioItem) -> None:
        """Add the run to the attempts of its test, and its facts to the test's properties."""
        attempts = attempts_of(item)
        header, outcome = self.result.trace.header, self.result.trace.end.outcome
        attempts.done.append(
            Attempt(
                status=self.verdict.status.value,
                reason=reason_line(self.verdict, outcome, self._context.place, self._context.blame),
                trace=Path(self._context.trace_path).name or None,
                log=Path(self._context.log_path).name or None,
            )
        )
        if session_of(item.config).options.report:
            attempts.envoy = EnvoyPart(
                **dataclasses.asdict(header.envoy),
                launcher=header.launcher,
                concurrency=header.concurrency,
            )
            trace, graph = self.result.trace, self._graph
            attempts.verdict = guarded(
                lambda: judgement(self.verdict, trace, graph, self._context),
                lambda fault: self.notes.append(f"verdict for machines {fault}"),
            )
            attempts.figures = guarded(
                lambda: figures_of(trace, graph),
                lambda fault: self.notes.append(f"figures {fault}"),
            )
        told = [attempt.status for attempt in attempts.done]
        replace_properties(
            item,
            {
                "envoy": header.envoy.version or header.envoy.source,
                "envoy_source": header.envoy.source,
                "build_id": header.envoy.build_id,
                "image_digest": header.envoy.image_digest,
                "launcher": header.launcher,
                "kernel": header.kernel,
                "verdict": str(self.verdict),
                "certificate": certificate_line(self.verdict.certificate),
                "stood_in": joined(header.stood_in),
                "attempts": SEPARATOR.join(told) if len(told) > 1 else "",
            },
        )

    def story(self) -> list[str]:
        """Return what `envoyassert show` tells of the run, as lines."""
        trace, graph = self.result.trace, self._graph
        return guarded(
            lambda: story_lines(story_of(trace, graph, self.verdict.certificate)),
            lambda fault: [f"the story: {fault}"],
        )

    def coverage(self) -> list[str]:
        """Return what of the run no expectation constrains, as lines."""
        result = self.result
        return guarded(
            lambda: coverage_lines(coverage(result.trace, self._graph, result.plan.expectations)),
            lambda fault: [f"the coverage: {fault}"],
        )

    def raise_unless_passed(self) -> None:
        """Raise what the verdict asks for; nothing if it is PASS.

        A known defect ends as an expected failure, unless --runxfail asks for it as a failure.
        """
        __tracebackhide__ = True
        if self.verdict.status is Status.KNOWN_DEFECT:
            pytest.xfail(shown(attempts_of(self._item).done[-1].reason))
        trace, note = self.result.trace, "\n".join(self.notes)
        raise_unless_passed(self.verdict, trace, self._graph, self._context, note)


def _judged(item: ScenarioItem, load_probe: Callable[[], Tracer]) -> Judged:
    """Run a scenario item once and judge it; whatever ends that early, keep what there is."""
    __tracebackhide__ = True
    evidence = Evidence(item)
    directories = session_of(item.config).options.debug_dirs
    try:
        result = run_plan(
            item.plan, load_probe(), "auto", debug_dirs=directories, observer=evidence
        )
        evidence.over(result)
        return Judged(result, item)
    except pytest.fail.Exception as error:
        raise evidence.told(reason_of(error)) from error
    except BaseException as error:
        evidence.secure(reason_of(error))
        raise


def execute(item: ScenarioItem, load_probe: Callable[[], Tracer]) -> Judged:
    """Run a scenario item and judge it; again if it is INCONCLUSIVE and the session repeats those.

    Args:
        item: the test.
        load_probe: returns the session's probe.

    Raises:
        MachineError: this machine lacks something that it must not lack.
        LaunchError: Envoy could not be started at all.
        CutShortError: a time-out struck.
    """
    __tracebackhide__ = True
    try:
        judged = _judged(item, load_probe)
    except RequirementUnmetError as error:
        pytest.skip(shown(error.message))
    except MachineError as error:
        session_of(item.config).lacks(error, item)
    for _ in range(session_of(item.config).options.reruns):
        if judged.verdict.status is not Status.INCONCLUSIVE:
            break
        try:
            judged = _judged(item, load_probe)
        except (RequirementUnmetError, MachineError, LaunchError) as error:
            # What cannot be repeated stays undecided; it must not become a skip.
            judged.notes.append(f"could not be repeated: {error}")
            break
    told = judged.story() if item.config.getoption("--envoyassert-story") else []
    if item.config.getoption("--envoyassert-coverage"):
        told += judged.coverage()
    if told:
        item.add_report_section(*_STORY, joined(told))
    return judged
