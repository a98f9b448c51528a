"""What `plan` takes: an Envoy config or a scenario, and a file of expectations."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from envoyassert.cli.draft import drafted, is_trace
from envoyassert.cli.dumps import problems_of
from envoyassert.cli.output import say
from envoyassert.cli.plans import choose_run, run_of_trace
from envoyassert.draft.scenario_text import requires_of
from envoyassert.errors import ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.load import LoadedScenario, load_scenario, parse_scenario, read_text
from envoyassert.scenario.matrix import EnvoyChoice, expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Header, ListenerRecord

_SCENARIO_KEYS = {"envoy", "expect"}


def plan_of_file(
    path: Path,
    envoys: Sequence[EnvoyChoice] = (),
    wanted: str = "",
    option: str = "--run",
    served: Path | None = None,
    pod: str = "",
    *,
    stand_in: bool = False,
    untrusted: bool = False,
) -> RunPlan:
    """Return the run of a scenario, or of whatever a draft is made of, as drafted.

    Args:
        path: the file; one with `envoy` or `expect` at its top is a scenario.
        envoys: the Envoy that takes the place of the scenario's own, at most one.
        wanted: which run of a scenario; "" if it has only one.
        option: the option that says it, for messages.
        served: as `drafted` takes it.
        pod: likewise.
        stand_in: likewise.
        untrusted: as `load_scenario` takes it.

    Raises:
        ScenarioError: a file is not valid.
        click.UsageError: none or several runs fit.
    """
    if is_scenario(path):
        if served is not None or pod:
            raise click.UsageError(f"{path} is a scenario: it says itself what is served")
        loaded = load_scenario(path, untrusted=untrusted)
        return choose_run(expand(loaded, envoys=envoys), wanted, option)
    with problems_of(path):
        found, written = drafted(path, served=served, pod=pod, stand_in=stand_in)
    for note in found.notes:
        say(f"{path}: {note}", err=True)
    # A plan has expectations; here they are in a file of their own, or there are none.
    expect = [{"process": {"stays_up": True}}]
    fields = {one.key: one.value for one in found.envoy}
    config = path.name if written is None else written
    envoy = {"config": config, "concurrency": found.concurrency, **fields}
    added = {"envoy": envoy, "expect": expect, "requires": requires_of(found)}
    loaded = _parse({key: value for key, value in added.items() if value}, "", path, untrusted)
    return choose_run(expand(loaded, envoys=envoys), wanted, option)


def is_scenario(path: Path) -> bool:
    """Return whether a file is a scenario, and none of what a draft is made of."""
    try:
        text = read_text(path)
        return not is_trace(text) and bool(_SCENARIO_KEYS & _keys(text, path))
    except ScenarioError:  # a dump may be too large for a scenario, or have several parts
        return False


def expectations_of(path: Path, header: Header) -> RunPlan:
    """Return the run of a scenario whose expectations a trace is judged by.

    Args:
        path: a scenario, or a file with nothing but `expect` (and `assume`).
        header: the trace's: it says which run of the scenario it is, or which listeners there are.

    Raises:
        ScenarioError: the file is not valid.
        click.UsageError: the scenario has several runs, and none is like the trace's.
    """
    if "envoy" in _keys(read_text(path), path):
        loaded = load_scenario(path)
    else:
        config = {"static_resources": {"listeners": [*map(_listener, header.listeners)]}}
        loaded = _parse({"envoy": {"config": config}}, read_text(path), path)
    plan = run_of_trace(expand(loaded), header)
    return plan.in_rundir(header.rundir or "${rundir}")


def _keys(text: str, path: Path) -> set[str]:
    data = parse_envoy_file(text, str(path)).data
    return {str(key) for key in data} if isinstance(data, dict) else set()


def _parse(more: dict[str, Any], text: str, path: Path, untrusted: bool = False) -> LoadedScenario:
    """Complete a file to a scenario and read that; what the file has keeps its lines."""
    name = re.sub(r"\W+", "_", path.name.partition(".")[0].lower()).strip("_")
    name = name if name[:1].isalpha() else f"plan_{name}"
    added = {"name": name, **more}
    lines = "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in added.items())
    stand_in = path.with_name(f"{name}.yaml")  # a scenario is called like its file
    try:
        loaded = parse_scenario(
            f"{text.rstrip()}\n{lines}" if text.strip() else lines,
            stand_in,
            directory=path.parent,
            untrusted=untrusted,
        )
    except ScenarioError as error:
        own = [
            dataclasses.replace(p, path=str(path)) if p.path == str(stand_in) else p
            for p in error.problems
        ]
        raise ScenarioError(own) from error
    document = dataclasses.replace(loaded.document, path=str(path))
    return dataclasses.replace(loaded, path=path, document=document)


def _listener(record: ListenerRecord) -> dict[str, Any]:
    """Return as much of a listener's config as a selector by name needs."""
    return {"name": record.name}
