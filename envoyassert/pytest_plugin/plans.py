"""The runs of a scenario file, as a session asks for them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from envoyassert.launch.choose import preference_of, source_of
from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.outputs.events import Run
from envoyassert.pytest_plugin.crossing import without_surrogates
from envoyassert.pytest_plugin.options import Options
from envoyassert.pytest_plugin.runs import title_of
from envoyassert.report.parts import AskedPart, Location, ScenarioPart
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
