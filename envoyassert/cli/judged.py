"""A trace that is at hand, judged by a scenario."""

from __future__ import annotations

from pathlib import Path

from envoyassert.cli.output import say
from envoyassert.cli.plans import choose_run, run_of_trace
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Verdict
from envoyassert.live.traces import config_of_trace
from envoyassert.report.changes import remedies
from envoyassert.report.failure import RunContext
from envoyassert.report.places import place_finder
from envoyassert.report.refusal import blame
from envoyassert.scenario.given import given_differences
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Trace


def plan_of_trace(trace: Trace, scenario: Path, wanted: str) -> RunPlan:
    """Return the run of a scenario that a trace is judged by.

    Args:
        trace: the trace. A scenario without the section `envoy` has the listeners of its header.
        scenario: the scenario's file.
        wanted: which run of it; "" for the trace's own.

    Raises:
        ScenarioError: it is not valid.
        click.UsageError: it has several runs, and which is meant is not clear.
    """
    envoy = {"config": config_of_trace(trace.header)}
    plans = expand(load_scenario(scenario, envoy=envoy))
    plan = choose_run(plans, wanted) if wanted else run_of_trace(plans, trace.header)
    return plan.in_rundir(trace.header.rundir or "${rundir}")


def say_differences(plan: RunPlan, trace: Trace) -> None:
    """Say on standard error in what a trace is of something else than the run of a scenario."""
    if plan.loaded.own_envoy:
        for difference in given_differences(plan, trace.header):
            say(f"note: {difference}", err=True)


def verdict_on(trace: Trace, plan: RunPlan, graph: SocketGraph) -> Verdict:
    """Return the verdict on a trace.

    Args:
        trace: the trace.
        plan: what is expected of it.
        graph: what it folds into.
    """
    return judge(
        trace,
        plan.expectations,
        workers=_workers(trace, plan, graph),
        assume=plan.scenario.assume,
        graph=graph,
    )


def _workers(trace: Trace, plan: RunPlan, graph: SocketGraph) -> int:
    asked = plan.workers if plan.loaded.own_envoy else len(graph.workers())
    return trace.header.concurrency or asked


def judged(
    trace: Trace, plan: RunPlan, scenario_path: str, trace_path: str
) -> tuple[Verdict, SocketGraph, RunContext]:
    """Return the verdict on a trace, its sockets, and what a report of it takes besides.

    Args:
        trace: the trace.
        plan: what is expected of it.
        scenario_path: the scenario's file as the user named it.
        trace_path: the trace's file, "" if there is none.
    """
    graph = fold(trace)
    place = place_finder(plan.loaded)
    verdict = verdict_on(trace, plan, graph)
    context = RunContext(
        title=plan.id,
        place=place,
        blame=blame(plan),
        scenario_path=scenario_path,
        trace_path=trace_path,
        replayed=True,
        remedies=remedies(
            verdict,
            trace,
            graph,
            plan.expectations,
            workers=_workers(trace, plan, graph),
            assume=plan.scenario.assume,
            place=place,
        ),
    )
    return verdict, graph, context
