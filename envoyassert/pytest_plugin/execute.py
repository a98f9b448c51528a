"""One run inside pytest: run it, judge it, keep what is needed to understand it.

What judges is imported once there is something to judge, and what words a verdict where there is
something to say: a run that passes needs no text but that of its certificate.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from envoyassert.errors import JudgingError, LaunchError, MachineError, fault_words, guarded
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.outputs.events import PhaseEnded, RunJudged
from envoyassert.outputs.output import Detail
from envoyassert.pytest_plugin.crossing import record, verdicts_of, without_surrogates
from envoyassert.pytest_plugin.evidence import Evidence, keep, reason_of
from envoyassert.pytest_plugin.session import session_of, stream_of
from envoyassert.report.certificate import certificate_line
from envoyassert.report.parts import EnvoyPart
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.plan import RequirementUnmetError
from envoyassert.shown import shown

if TYPE_CHECKING:
    from envoyassert.baseline.answer import BaselineAnswer
    from envoyassert.probe import Tracer
    from envoyassert.pytest_plugin.collect import ScenarioItem
    from envoyassert.report.failure import RunContext
    from envoyassert.report.figures import Figures
    from envoyassert.report.verdict_json import Judgement


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
        #: Paths of what is kept, by `trace` and `log`.
        self._kept: dict[str, str] = {}
        plan = result.plan
        try:
            from envoyassert.graph.fold import fold
            from envoyassert.judge.judge import judge

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
            kept = self._kept.get("trace") or "\n".join(self.notes)
            raise JudgingError(fault_words(error), f"trace: {kept}") from error
        # The trace comes first: no fault of what follows may cost it.
        if self.verdict.status is not Status.PASS or session_of(item.config).options.keep == "all":
            self._keep(item)
        self.baseline = self._held_against_baseline()
        if self.baseline is not None and self.baseline.reason and not self._kept.get("trace"):
            self._keep(item)
        self._emit(item)

    def _held_against_baseline(self) -> BaselineAnswer | None:
        if stream_of(self._item.config).baselines() is None:
            return None
        from envoyassert.pytest_plugin.baselines import baseline_answer

        return baseline_answer(self._item, self.verdict, self.result.trace, self._graph)

    def _keep(self, item: ScenarioItem) -> None:
        self._kept, note = keep(item, self.result.trace, self.result.log_text)
        self.notes += [note] if note else []

    @functools.cached_property
    def _context(self) -> RunContext:
        """What the texts of a verdict need beside it, and what would make failures hold."""
        from envoyassert.report.failure import RunContext

        bare = RunContext(
            title=self._item.name,
            scenario_path=str(self.result.plan.loaded.path),
            trace_path=self._kept.get("trace", ""),
            log_path=self._kept.get("log", ""),
        )

        def none(fault: str) -> RunContext:
            self.notes.append(f"places and remedies {fault}")
            return bare

        return guarded(lambda: self._with_places(bare), none)

    def _with_places(self, context: RunContext) -> RunContext:
        from envoyassert.report.changes import remedies
        from envoyassert.report.places import place_finder
        from envoyassert.report.refusal import blame

        result, plan = self.result, self.result.plan
        place = place_finder(plan.loaded)
        found = remedies(
            self.verdict,
            result.trace,
            self._graph,
            plan.expectations,
            workers=plan.workers,
            assume=plan.scenario.assume,
            place=place,
        )
        return dataclasses.replace(context, place=place, blame=blame(plan), remedies=found)

    def _emit(self, item: ScenarioItem) -> None:
        """Hand the verdict to the outputs, and what they want to know of it."""
        trace, stream = self.result.trace, stream_of(item.config)
        header = trace.header
        if trace.phases:
            self._emit_phases(item)
        about_envoy = {
            name: without_surrogates(text)
            for name, text in dataclasses.asdict(header.envoy).items()
        }
        story = self._story() if stream.wants(Detail.STORY) else []
        story += self._coverage() if stream.wants(Detail.COVERAGE) else []
        reason, defect, seen = guarded(
            self._reasons, lambda fault: (f"the reason: {fault}", "", "")
        )
        whole = guarded(
            lambda: certificate_line(self.verdict.certificate),
            lambda fault: f"the certificate: {fault}",
        )
        judged = RunJudged(
            run=item.run,
            status=self.verdict.status.value,  # type: ignore[arg-type]  # it is one of the words
            words=str(self.verdict),
            reason=shown(reason),
            envoy=EnvoyPart(
                **about_envoy, launcher=header.launcher, concurrency=header.concurrency
            ),
            kernel=shown(header.kernel),
            certificate=shown(whole),
            whole=self.verdict.certificate.whole,
            defect=shown(defect),
            seen=shown(seen),
            stood_in=tuple(map(shown, header.stood_in)),
            trace=shown(self._kept.get("trace", "")),
            log=shown(self._kept.get("log", "")),
            page=shown(self._page()) if stream.wants(Detail.PAGE) else "",
            judgement=self._judgement() if stream.wants(Detail.JUDGEMENT) else None,
            figures=self._figures() if stream.wants(Detail.FIGURES) else None,
            story=tuple(map(shown, story)),
            baseline=self.baseline,
            map=self._map() if stream.wants(Detail.MAP) else "",
        )
        record(item, judged)

    def _emit_phases(self, item: ScenarioItem) -> None:
        from envoyassert.report.call import Clock
        from envoyassert.report.story_parts import describe_steps

        def none(fault: str) -> list[dict[str, Any]]:
            self.notes.append(f"phases {fault}")
            return []

        trace = self.result.trace
        for phase in guarded(lambda: describe_steps(trace, Clock(trace)), none):
            name, kind, result = phase["name"], phase["kind"], phase["came_of_it"]
            record(item, PhaseEnded(item.run, name, kind, phase["ends"], shown(result)))

    def _reasons(self) -> tuple[str, str, str]:
        """Return why the verdict is not PASS, the known defect, and what was seen of that."""
        if self.verdict.status is Status.PASS:
            return "", "", ""
        from envoyassert.report.headline import known_defect, reason_line
        from envoyassert.steps.registry import unasked_outcome

        context, trace = self._context, self.result.trace
        listeners = trace.header.listeners
        reason = reason_line(
            self.verdict, unasked_outcome(trace), context.place, context.blame, listeners
        )
        return (reason, *known_defect(self.verdict, context.place, listeners))

    def _map(self) -> str:
        if self.verdict.status not in (Status.FAIL, Status.INCONCLUSIVE):
            return ""
        from envoyassert.picture.mermaid import failed_mermaid
        from envoyassert.picture.socket_map import socket_map

        def none(fault: str) -> str:
            self.notes.append(f"map {fault}")
            return ""

        trace, graph, verdict = self.result.trace, self._graph, self.verdict
        return guarded(
            lambda: failed_mermaid(socket_map(trace, graph, verdict), self._item.name), none
        )

    def _judgement(self) -> Judgement | None:
        from envoyassert.report.verdict_json import judgement

        return guarded(
            lambda: judgement(self.verdict, self.result.trace, self._graph, self._context),
            lambda fault: self.notes.append(f"verdict for machines {fault}"),
        )

    def _figures(self) -> Figures | None:
        from envoyassert.report.figures import figures_of

        return guarded(
            lambda: figures_of(self.result.trace, self._graph),
            lambda fault: self.notes.append(f"figures {fault}"),
        )

    def _page(self) -> str:
        """Write the run's page and return its path; "" if that is not possible."""
        from envoyassert.picture.html.page import run_page
        from envoyassert.picture.run import run_picture
        from envoyassert.pytest_plugin.evidence import keep_page

        trace = self.result.trace

        def none(fault: str) -> str:
            self.notes.append(f"the page {fault}")
            return ""

        return guarded(
            lambda: keep_page(
                self._item, run_page(run_picture(trace, self._graph, self.verdict, self._context))
            ),
            none,
        )

    def _story(self) -> list[str]:
        """Return what `envoyassert show` prints of the run, as lines."""
        from envoyassert.report.story import story_of
        from envoyassert.report.story_text import story_lines

        trace, graph = self.result.trace, self._graph
        return guarded(
            lambda: story_lines(story_of(trace, graph, self.verdict.certificate)),
            lambda fault: [f"the story: {fault}"],
        )

    def _coverage(self) -> list[str]:
        """Return what of the run no expectation constrains, as lines."""
        from envoyassert.report.coverage import coverage, coverage_lines

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
        if self.baseline and self.verdict.status in (Status.PASS, Status.KNOWN_DEFECT):
            from envoyassert.pytest_plugin.baselines import refusal_of

            refusal = refusal_of(self.baseline, self.verdict, self._paths())
            if refusal is not None:
                raise refusal
        if self.verdict.status is Status.KNOWN_DEFECT:
            pytest.xfail(verdicts_of(self._item)[-1].reason)
        if self.verdict.status is Status.PASS:
            return
        from envoyassert.outcomes import raise_unless_passed

        of_baseline = [] if self.baseline is None else self.baseline.lines()
        trace, note = self.result.trace, "\n".join([*of_baseline, *self.notes])
        raise_unless_passed(self.verdict, trace, self._graph, self._context, note)

    @property
    def is_inconclusive(self) -> bool:
        """Whether verdict or baseline say that the run proves nothing."""
        return verdicts_of(self._item)[-1].standing == Status.INCONCLUSIVE.value

    def _paths(self) -> list[str]:
        """Return lines that say what is kept of the run."""
        return [*(f"  {what}: {path}" for what, path in self._kept.items() if path), *self.notes]


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
        raise evidence.described(reason_of(error)) from error
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
        if not judged.is_inconclusive:
            break
        try:
            judged = _judged(item, load_probe)
        except (RequirementUnmetError, MachineError, LaunchError) as error:
            # What cannot be repeated stays INCONCLUSIVE; it must not become a skip.
            judged.notes.append(f"could not be repeated: {error}")
            break
    return judged
