"""What `plan` takes: an Envoy config or a scenario, and a file of expectations."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from envoyassert.cli.dumps import MAX_DUMP_BYTES, config_or_envoys, problems_of
from envoyassert.cli.plans import choose_run, run_of_trace
from envoyassert.draft.from_config import fields_for
from envoyassert.draft.from_dump import bootstrap_of_dump, chosen
from envoyassert.errors import ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.load import LoadedScenario, load_scenario, parse_scenario, read_text
from envoyassert.scenario.matrix import EnvoyChoice, expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Header, ListenerRecord

_SCENARIO_KEYS = {"envoy", "expect"}


def plan_of_file(path: Path, envoys: Sequence[EnvoyChoice], wanted: str) -> RunPlan:
    """Return the run of an Envoy config, of a dump or of a scenario.

    What an Envoy config needs of elsewhere is stood in for, as in a draft of it, and so are the
    listeners of a dump.

    Args:
        path: the file; one with `envoy` or `expect` at its top is a scenario.
        envoys: the Envoy that takes the place of the scenario's own, at most one.
        wanted: which run of a scenario; "" if it has only one.

    Raises:
        ScenarioError: the file is not valid.
        click.UsageError: none or several runs fit.
    """
    try:
        keys = _keys(path)
    except ScenarioError:  # a dump may be too large for a scenario, or have several parts
        keys = set()
    if _SCENARIO_KEYS & keys:
        loaded = load_scenario(path)
    else:
        # A plan has expectations; here they are in a file of their own, or there are none.
        expect = [{"process": {"stays_up": True}}]
        config, dumped = config_or_envoys(read_text(path, MAX_DUMP_BYTES), str(path))
        used: Any = path.name
        if dumped:
            with problems_of(path):
                config, notes = bootstrap_of_dump(chosen(dumped))
            used = config
            for note in notes:
                click.echo(f"{path}: {note}", err=True)
        envoy = {"config": used, **fields_for(config)}
        more = {"requires": {"launcher": "process"}} if {"addresses", "netns"} & set(envoy) else {}
        loaded = _parse({"envoy": envoy, "expect": expect, **more}, "", path)
    return choose_run(expand(loaded, envoys=envoys), wanted)


def expectations_of(path: Path, header: Header) -> RunPlan:
    """Return the run of a scenario whose expectations a trace is judged by.

    Args:
        path: a scenario, or a file with nothing but `expect` (and `assume`).
        header: the trace's: it says which run of the scenario it is, or which listeners there are.

    Raises:
        ScenarioError: the file is not valid.
        click.UsageError: the scenario has several runs, and none is like the trace's.
    """
    if "envoy" in _keys(path):
        loaded = load_scenario(path)
    else:
        config = {"static_resources": {"listeners": [*map(_listener, header.listeners)]}}
        loaded = _parse({"envoy": {"config": config}}, read_text(path), path)
    plan = run_of_trace(expand(loaded), header)
    return plan.in_rundir(header.rundir or "${rundir}")


def _keys(path: Path) -> set[str]:
    data = parse_envoy_file(read_text(path), str(path)).data
    return {str(key) for key in data} if isinstance(data, dict) else set()


def _parse(more: dict[str, Any], text: str, path: Path) -> LoadedScenario:
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
            read_config=lambda file: read_text(path.parent / file),
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


def check_pair(files: Sequence[str], changes: Sequence[str], traces: bool) -> None:
    """Check how many files there are.

    Raises:
        click.UsageError: not two files, or one and a change.
    """
    if traces and (len(files) != 2 or changes):
        raise click.UsageError("--traces takes two traces, and no --set")
    if not traces and len(files) != 2 and not (len(files) == 1 and changes):
        raise click.UsageError("give two files, or one and --set FIELD=VALUE")
