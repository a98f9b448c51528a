"""Scenario files as test modules, and each run of a scenario as a test function.

A function inside a module, and not an item inside a file, because that is what gives a scenario
fixtures of every scope, marks, `-k`, timeouts, `--setup-plan` and xdist without any code.
"""

from __future__ import annotations

import dataclasses
import os
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from envoyassert.errors import Problem, ScenarioError
from envoyassert.launch.choose import preference_of, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.outputs.events import Run, RunPlanned
from envoyassert.pytest_plugin.crossing import record, without_surrogates
from envoyassert.pytest_plugin.options import Options
from envoyassert.pytest_plugin.representation import collect_error, representation
from envoyassert.pytest_plugin.runs import title_of
from envoyassert.pytest_plugin.session import session_of
from envoyassert.report.results import AskedPart, ScenarioPart
from envoyassert.report.verdict_json import Location
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.shown import shown

#: Marks that every run has, so that `-m "not envoy"` leaves out what needs a machine.
_MARKS = ("bpf", "envoy")


def run_scenario(_envoyassert_run: Any) -> None:
    """Raise what the run's verdict asks for; the run took place in the fixture."""
    __tracebackhide__ = True
    _envoyassert_run.raise_unless_passed()


class ScenarioItem(pytest.Function):
    """One run of one scenario."""

    plan: RunPlan
    run: Run

    # Since 9.2 pytest keeps the parts of a node id, and compares them with those that it parses
    # from text (its cache, the report of a worker). The name of a run holds brackets without
    # parameters of pytest's own, which are parts only once they are parsed. pytest-xdist 3.8
    # writes the group of a test to `_nodeid`, which pytest read until 9.1.
    if hasattr(pytest.Item, "id"):

        @property
        def _nodeid(self) -> str:
            return self.nodeid

        @_nodeid.setter
        def _nodeid(self, nodeid: str) -> None:
            self._id = self.id.parse(nodeid)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._nodeid = self.nodeid

    @classmethod
    def of_plan(cls, parent: ScenarioFile, plan: RunPlan) -> ScenarioItem:
        """Return the item for a plan."""
        item = cls.from_parent(parent, name=plan.id, callobj=run_scenario)
        item.plan = plan
        marks = [*_MARKS, *plan.scenario.marks]
        for name in marks:
            item.add_marker(getattr(pytest.mark, name))
        if plan.timeout_s is not None:
            item.add_marker(pytest.mark.timeout(plan.timeout_s))
        item.run = _run_of(item)
        record(item, RunPlanned(item.run))
        return item

    @property
    def line(self) -> int:
        """The 1-based line of the file where the scenario says its name."""
        return self.plan.loaded.mark(("name",))[0]

    def reportinfo(self) -> tuple[os.PathLike[str], int, str]:
        """Return file, 0-based line and name, as pytest shows them."""
        return Path(shown(str(self.path))), self.line - 1, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]  # pytest knows two types
        """Return our own text for our own errors, pytest's for any other."""
        ours = representation(excinfo.value, self.path, self.line)
        return ours or super().repr_failure(excinfo)


def _run_of(item: ScenarioItem) -> Run:
    """Return an item as the outputs know it."""
    plan, line = item.plan, item.plan.loaded.mark(("name",))
    return Run(
        item.nodeid,
        title_of(item.nodeid),
        ScenarioPart(
            name=plan.scenario.name,
            description=plan.scenario.description.strip(),
            location=Location(
                file=without_surrogates(str(plan.loaded.path)), line=line[0], column=line[1]
            ),
            matrix=plan.matrix_text,
        ),
        AskedPart(
            envoy=without_surrogates(str(source_of(plan))),
            launcher=preference_of(plan, "auto"),
            concurrency=plan.workers,
        ),
    )


class ScenarioFile(pytest.Module):
    """One scenario file."""

    @classmethod
    def of_path(cls, parent: pytest.Collector, path: Path) -> ScenarioFile:
        """Return the node of a file, whose id is text to be seen whatever the file is called."""
        file = cls.from_parent(parent, path=path)
        plain: Any = shown(file.nodeid)
        if plain == file.nodeid:
            return file
        if hasattr(file, "id"):  # pytest 9.2, which would take `::` and `[` of a text apart
            plain = type(file.id)(path=plain)
        return cls.from_parent(parent, path=path, nodeid=plain)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown(self.name)}>"

    def _getobj(self) -> types.ModuleType:
        return types.ModuleType(self.path.name.partition(".")[0])

    def collect(self) -> Iterable[pytest.Item]:
        """Return the runs of the scenario.

        Raises:
            CollectError: the file is not a valid scenario; every problem is named.
        """
        session = session_of(self.config)
        session.has_scenarios = True
        try:
            plans = plans_of(self.path, session.options, self.config.invocation_params.dir)
            for plan in plans:
                self._check_marks(plan)
        except ScenarioError as error:
            raise collect_error(error) from error
        return [ScenarioItem.of_plan(self, plan) for plan in plans]

    def _check_marks(self, plan: RunPlan) -> None:
        """Refuse a mark that strict markers would refuse, with its place in the file."""
        name = ""
        try:
            for name in plan.scenario.marks:
                getattr(pytest.mark, name)
        except pytest.fail.Exception as error:
            line, column = plan.loaded.mark(("marks", plan.scenario.marks.index(name)))
            problem = Problem(str(plan.loaded.path), line, column, str(error.msg))
            raise ScenarioError([problem]) from error


def plans_of(path: os.PathLike[str], options: Options, start: os.PathLike[str]) -> list[RunPlan]:
    """Return the runs of a scenario file, on the Envoys and launchers that the user named.

    Args:
        path: the file.
        options: the session's options.
        start: the directory that the user is in; paths in messages are relative to it.

    Raises:
        ScenarioError: the file is not valid.
    """
    shown = Path(os.path.relpath(path, start))
    if shown.parts[:1] == ("..",):
        shown = Path(path)
    plans = expand(
        load_scenario(shown if shown.exists() else Path(path), untrusted=options.untrusted),
        envoys=[parse_envoy_argument(text) for text in options.envoys],
        launchers=options.launchers if options.launchers_given else (),
    )
    if options.pull:
        plans = [dataclasses.replace(plan, pull=options.pull) for plan in plans]
    return plans


def nothing_would_run(items: Sequence[pytest.Item]) -> bool:
    """Return whether this machine lacks what every single test of the session needs."""
    from envoyassert.probe import probe_capability

    if not items or not all(isinstance(item, ScenarioItem) for item in items):
        return False
    by_probe = session_of(items[0].config).options.tracer == "ebpf"
    if by_probe and not all(capability.ok for capability in probe_capability()):
        return True
    plans = [item.plan for item in items if isinstance(item, ScenarioItem)]
    if any(preference_of(plan, "auto") != "docker" for plan in plans):
        return False
    from envoyassert.launch.engine import docker_capability

    return not docker_capability().ok
