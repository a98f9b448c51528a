"""A run held against its baseline, in the process that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoyassert.baseline.answer import BaselineAnswer, RunKey, unknown
from envoyassert.baseline.stored import held_against, run_name
from envoyassert.baseline.story import story_of
from envoyassert.errors import ScenarioError, guarded
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.outcomes import BaselineDiffers, NotPassed, TraceInconclusive
from envoyassert.pytest_plugin.session import stream_of
from envoyassert.report.certificate import certificate_line
from envoyassert.shown import shown
from envoyassert.trace import Trace

if TYPE_CHECKING:
    from envoyassert.outputs.baselines import Baselines
    from envoyassert.pytest_plugin.collect import ScenarioItem


def baseline_answer(
    item: ScenarioItem, verdict: Verdict, trace: Trace, graph: SocketGraph
) -> BaselineAnswer | None:
    """Hold a run against its baseline; None if the session has none.

    Args:
        item: the test.
        verdict: the run's verdict.
        trace: what was judged.
        graph: its socket graph.
    """
    baselines = stream_of(item.config).baselines()
    if baselines is None:
        return None
    return guarded(
        lambda: _answer(baselines, item, verdict, trace, graph),
        lambda fault: unknown(str(baselines.directory), f"the baseline: {fault}"),
    )


def _answer(
    baselines: Baselines, item: ScenarioItem, verdict: Verdict, trace: Trace, graph: SocketGraph
) -> BaselineAnswer:
    name, path = baselines.place_of(item.run)
    if verdict.status is Status.INCONCLUSIVE or not verdict.certificate.whole:
        return unknown(shown(str(path)), certificate_line(verdict.certificate))
    envoy = trace.header.envoy
    scenario = item.run.scenario
    key = RunKey(run_name(scenario.name, scenario.matrix), shown(envoy.version or envoy.source))
    story = story_of(trace, graph)
    if baselines.updates and verdict.status is Status.FAIL:
        return unknown(shown(str(path)), "an update takes no story of a run that failed")
    if baselines.updates:
        return BaselineAnswer("taken", shown(str(path)), key=key, story=story)
    try:
        return held_against(baselines.stored(name, path), shown(str(path)), key, story)
    except ScenarioError as error:
        return unknown(shown(str(path)), str(error).partition("\n")[0])


def refusal_of(
    answer: BaselineAnswer | None, verdict: Verdict, kept: list[str]
) -> NotPassed | None:
    """Return what a run raises that would be green but for its baseline, None if it stays green.

    Args:
        answer: what came of holding it against its baseline.
        verdict: the run's verdict.
        kept: lines that say where trace and log are.
    """
    if answer is None or not answer.reason:
        return None
    if answer.failed:
        return BaselineDiffers(verdict, [*answer.lines(), *kept], answer.reason)
    lines = [f"INCONCLUSIVE: {answer.reason}", *answer.lines()[1:], *kept]
    return TraceInconclusive(verdict, lines, lines[0])
