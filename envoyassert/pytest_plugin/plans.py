"""The runs of a scenario file, as a session asks for them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from envoyassert.errors import Problem, ScenarioError, guarded
from envoyassert.launch.choose import preference_of, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.outputs.events import Run
from envoyassert.pytest_plugin.crossing import without_surrogates, without_surrogates_in
from envoyassert.pytest_plugin.options import Options
from envoyassert.pytest_plugin.runs import title_of
from envoyassert.report.parts import AskedPart, Location, ScenarioPart
from envoyassert.scenario.doubtful import doubts_of
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan


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
        once=options.once,
    )
    if options.pull:
        plans = [dataclasses.replace(plan, pull=options.pull) for plan in plans]
    return plans


def doubts_about(plans: Sequence[RunPlan], options: Options) -> tuple[Problem, ...]:
    """Return what a scenario says that is likely not meant, as a report of a run can carry it.

    Args:
        plans: its runs in a session.
        options: the session's options.
    """
    if not plans:
        return ()
    path = str(plans[0].loaded.path)
    found = guarded(
        lambda: _doubts_about(plans, once=options.once), lambda said: [Problem(path, 0, 0, said)]
    )
    return tuple(without_surrogates_in(one) for one in found)


def _doubts_about(plans: Sequence[RunPlan], *, once: bool) -> list[Problem]:
    loaded = plans[0].loaded
    found = doubts_of(loaded, plans)
    if found and once:
        # What no listener of these runs has, one of the others may have.
        with contextlib.suppress(ScenarioError):
            return doubts_of(loaded, expand(loaded))
    return found


def run_of(plan: RunPlan, nodeid: str) -> Run:
    """Return a run as the outputs know it.

    Args:
        plan: its plan.
        nodeid: the id of its test.
    """
    line = plan.loaded.mark(("name",))
    return Run(
        nodeid,
        title_of(nodeid),
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
