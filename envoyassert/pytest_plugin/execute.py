"""One run inside pytest: run it, judge it, keep what is needed to understand it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envoyassert.errors import MachineError
from envoyassert.graph.fold import fold
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.outcomes import raise_unless_passed
from envoyassert.pytest_plugin.session import session_of
from envoyassert.pytest_plugin.summary import PREFIX, properties
from envoyassert.report.failure import Context
from envoyassert.report.places import place_finder
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.requires import RequirementUnmetError
from envoyassert.trace_file import write_lines, write_trace

if TYPE_CHECKING:
    from envoyassert.probe import Probe
    from envoyassert.pytest_plugin.collect import ScenarioItem


class Judged:
    """A run with its verdict.

    Args:
        result: the run.
        item: the test.
    """

    def __init__(self, result: RunResult, item: ScenarioItem) -> None:
        self.result = result
        self._graph = fold(result.trace)
        plan = result.plan
        self.verdict: Verdict = judge(
            result.trace,
            plan.expectations,
            workers=plan.workers,
            assume=plan.scenario.assume,
            graph=self._graph,
        )
        self._context = Context(
            title=item.name,
            place=place_finder(plan.loaded),
            scenario_path=str(plan.loaded.path),
        )
        self._note = ""
        if self.verdict.status is not Status.PASS:
            self._keep(item)

    def _keep(self, item: ScenarioItem) -> None:
        directory = artifact_directory(item)
        trace, log = directory / "trace.ndjson", directory / "envoy.log"
        kept: dict[str, str] = {}
        try:
            write_trace(self.result.trace, trace)
            kept["trace"] = str(trace)
            write_lines(self.result.log_text.splitlines(), log)
            kept["log"] = str(log)
        except MachineError as error:
            # The verdict matters more than its souvenirs.
            self._note = f"not kept: {error}"
        self._context = dataclasses.replace(
            self._context, trace_path=kept.get("trace", ""), log_path=kept.get("log", "")
        )
        item.user_properties.extend(properties(kept))

    def raise_unless_passed(self) -> None:
        """Raise what the verdict asks for; nothing if it is PASS."""
        __tracebackhide__ = True
        raise_unless_passed(self.verdict, self.result.trace, self._graph, self._context, self._note)


def execute(item: ScenarioItem, load_probe: Callable[[], Probe]) -> Judged:
    """Run a scenario item and judge it.

    Args:
        item: the test.
        load_probe: returns the session's probe.

    Raises:
        MachineError: this machine lacks something that it must not lack.
        LaunchError: Envoy could not be started at all.
    """
    __tracebackhide__ = True
    try:
        result = run_plan(item.plan, load_probe(), "auto")
    except RequirementUnmetError as error:
        pytest.skip(error.message)
    except MachineError as error:
        session_of(item.config).lacks(error, item)
    _describe(item, result)
    judged = Judged(result, item)
    item.user_properties.append((f"{PREFIX}verdict", str(judged.verdict)))
    return judged


def _describe(item: ScenarioItem, result: RunResult) -> None:
    """Put what was run in the place of what was asked for into the item's properties."""
    header = result.trace.header
    envoy = header.envoy
    facts = {
        "envoy": envoy.version or envoy.source,
        "envoy_source": envoy.source,
        "build_id": envoy.build_id,
        "image_digest": envoy.image_digest,
        "launcher": header.launcher,
        "kernel": header.kernel,
    }
    named = {PREFIX + key for key in facts}
    item.user_properties[:] = [entry for entry in item.user_properties if entry[0] not in named]
    item.user_properties.extend(properties({key: text for key, text in facts.items() if text}))


def artifact_directory(item: pytest.Item) -> Path:
    """Return the directory for traces and logs of one test, relative to where pytest was started.

    `scenarios/reuse_port.yaml::reuse_port[concurrency=2]` has `scenarios/reuse_port/concurrency=2`.
    """
    root = Path(session_of(item.config).options.artifacts)
    path = Path(os.path.relpath(item.path, item.config.rootpath))
    parts = [part for part in path.parts if part != ".."]
    parts[-1] = parts[-1].partition(".")[0]
    name = item.name if "[" not in item.name else item.name.partition("[")[2].rstrip("]")
    return root.joinpath(*parts, re.sub(r"[^\w.,=@-]+", "_", name))
