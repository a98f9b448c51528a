"""Scenario files as test modules, and each run of a scenario as a test function.

A function inside a module, and not an item inside a file, because that is what gives a scenario
fixtures of every scope, marks, `-k`, timeouts, `--setup-plan` and xdist without any code.

pytest asks for the node of every file beside those that it is started with, and collects none of
them. So what reads a scenario is loaded where one is collected.
"""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envoyassert.errors import Problem, ScenarioError
from envoyassert.pytest_plugin.crossing import record
from envoyassert.pytest_plugin.session import session_of
from envoyassert.shown import shown

if TYPE_CHECKING:
    from envoyassert.outputs.events import Run
    from envoyassert.scenario.plan import RunPlan

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
    def of_plan(
        cls, parent: ScenarioFile, plan: RunPlan, doubts: tuple[Problem, ...]
    ) -> ScenarioItem:
        """Return the item for a plan.

        Args:
            parent: its file.
            plan: the plan.
            doubts: what its scenario says that is likely not meant.
        """
        from envoyassert.outputs.events import RunPlanned
        from envoyassert.pytest_plugin.plans import run_of

        item = cls.from_parent(parent, name=plan.id, callobj=run_scenario)
        item.plan = plan
        marks = [*_MARKS, *plan.scenario.marks]
        for name in marks:
            item.add_marker(getattr(pytest.mark, name))
        if plan.timeout_s is not None:
            item.add_marker(pytest.mark.timeout(plan.timeout_s))
        item.run = run_of(plan, item.nodeid)
        record(item, RunPlanned(item.run, doubts))
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
        from envoyassert.pytest_plugin.representation import representation

        ours = representation(excinfo.value, self.path, self.line)
        return ours or super().repr_failure(excinfo)


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
        from envoyassert.pytest_plugin.plans import doubts_about, plans_of

        session = session_of(self.config)
        session.has_scenarios = True
        try:
            plans = plans_of(self.path, session.options, self.config.invocation_params.dir)
            for plan in plans:
                self._check_marks(plan)
        except ScenarioError as error:
            from envoyassert.pytest_plugin.representation import collect_error

            raise collect_error(error) from error
        doubts = doubts_about(plans, session.options)
        return [ScenarioItem.of_plan(self, plan, doubts) for plan in plans]

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


def nothing_would_run(items: Sequence[pytest.Item]) -> bool:
    """Return whether this machine lacks what every single test of the session needs."""
    from envoyassert.launch.choose import preference_of
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
