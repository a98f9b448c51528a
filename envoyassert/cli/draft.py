"""`envoyassert draft`: a first scenario for a config, a running Envoy, or a trace."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import click
import yaml

from envoyassert.draft.expected import Draft, DraftError
from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.from_trace import draft_of_trace
from envoyassert.draft.stand_in import (
    bootstrap_of_draft,
    bootstrap_of_dump,
    is_config_dump,
    served_by_dump,
)
from envoyassert.draft.text import draft_text
from envoyassert.errors import Problem, ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import with_lists
from envoyassert.scenario.load import parse_scenario, read_text
from envoyassert.trace import FORMAT, OLD_FORMAT
from envoyassert.trace_file import write_lines
from envoyassert.trace_lines import parse_trace

#: The dump of a busy sidecar is far larger than any file that a person wrote.
_MAX_DUMP_BYTES = 256 * 1024 * 1024


@click.command()
@click.argument("source", metavar="CONFIG|TRACE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the scenario here, NAME.yaml or NAME.envoyassert.yaml; without it, print it.",
)  # fmt: skip
@click.option("--concurrency", type=click.IntRange(0, 1024), help="Envoy's --concurrency [2].")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With a trace: the config that was run.",
)
@click.option(
    "--with",
    "dump",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With a bootstrap: a dump, whose listeners are served in its control plane's place.",
)
def draft(
    source: str,
    output: Path | None,
    concurrency: int | None,
    config: Path | None,
    dump: Path | None,
) -> None:
    """Write a first scenario: what Envoy does with its sockets.

    CONFIG is a bootstrap (YAML or JSON), or the answer of a running Envoy's or Istio sidecar's
    /config_dump; TRACE is a recorded run. The scenario passes as it is, and fails when reuse_port,
    the concurrency, an address, a socket option or the backlog changes.

    For a dump, and for a trace without --config, a stand-in is written next to the scenario (or
    into what is printed): a config with the same sockets, without clusters, filters and secrets.

    What a bootstrap asks servers for is answered with nothing, or by --with DUMP; a line says so.

    Needs neither root nor an Envoy.

    Example: envoyassert draft envoy.yaml -o envoy.envoyassert.yaml
    """
    path = Path(source)
    try:
        found, stand_in = _drafted(path, concurrency, dump, with_config=config is not None)
    except DraftError as error:
        raise ScenarioError([Problem(source, 1, 1, error.message, error.remedy)]) from error
    scenario = output or Path(f"{_name(path.name)}.envoyassert.yaml")
    name = _name(scenario.name)
    if scenario.name.removesuffix(scenario.suffix).removesuffix(".envoyassert") != name:
        raise click.UsageError(f"a scenario's file is called like it: say -o {name}.yaml")
    used = scenario.with_name(f"{name}.envoy.yaml") if stand_in is not None else config or path
    if output is not None and output.resolve() in {path.resolve(), used.resolve()}:
        raise click.UsageError(f"{output} is the file to draft from; name another by -o")
    told: str | dict[str, Any] = os.path.relpath(used, scenario.parent)
    if output is None and stand_in is not None:
        told = stand_in  # nothing is written, so it is part of what is printed
    text = draft_text(found, name, told, path.name)
    parse_scenario(text, scenario)  # a fault of the draft is told here and not by its first run
    for one in found.envoy:
        click.echo(f"envoy.{one.key}: {one.why}", err=True)
    if output is None:
        click.echo(text, nl=False)
        return
    if stand_in is not None:
        plain = json.loads(json.dumps(stand_in))  # no part twice, so no YAML aliases
        dumped = yaml.safe_dump(plain, sort_keys=False, width=100)
        head = f"# The sockets of {path.name}, and nothing else of it."
        write_lines([head, *dumped.splitlines()], used)
        click.echo(f"wrote {used}")
    write_lines(text.splitlines(), output)
    click.echo(f"wrote {output}")


def _name(file: str) -> str:
    """Return the name of the scenario that a file is called after."""
    name = re.sub(r"\W+", "_", file.partition(".")[0].lower()).strip("_")
    return name if name[:1].isalpha() else f"envoy_{name}".rstrip("_")


def _drafted(
    path: Path, concurrency: int | None, served: Path | None, *, with_config: bool
) -> tuple[Draft, dict[str, Any] | None]:
    """Return the draft, and the stand-in for the config if there must be one."""
    text = _text(path)
    if served is not None and (with_config or _is_trace(text) or _dump(text) is not None):
        raise click.UsageError("--with goes with a bootstrap")
    if _is_trace(text):
        return _of_trace(path, text, concurrency, with_config)
    if with_config:
        raise click.UsageError("--config goes with a trace")
    dump = _dump(text)
    if dump is None:
        config = with_lists(parse_envoy_file(text, str(path)).data)
        if served is None:
            return draft_of_config(config, concurrency), None
        listeners, notes = _served(served)
        drafted = draft_of_config(config, concurrency, listeners)
        return dataclasses.replace(drafted, notes=(*notes, *drafted.notes)), None
    bootstrap, notes = bootstrap_of_dump(dump)
    drafted = draft_of_config(bootstrap, concurrency)
    return dataclasses.replace(drafted, notes=(*notes, *drafted.notes)), bootstrap


def _is_trace(text: str) -> bool:
    return any(f'"format": "{known}"' in text[:200] for known in (FORMAT, OLD_FORMAT))


def _served(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the listeners of a dump, and notes on them."""
    dump = _dump(_text(path))
    try:
        if dump is None:
            raise DraftError("this is no dump", "ask Envoy: curl 127.0.0.1:PORT/config_dump")
        return served_by_dump(dump)
    except DraftError as error:
        problem = Problem(str(path), 1, 1, error.message, error.remedy)
        raise ScenarioError([problem]) from error


def _of_trace(
    path: Path, text: str, concurrency: int | None, with_config: bool
) -> tuple[Draft, dict[str, Any] | None]:
    if concurrency is not None:
        raise click.UsageError("a trace says itself which concurrency it was")
    drafted = draft_of_trace(parse_trace(text.splitlines(), str(path)))
    return drafted, None if with_config else bootstrap_of_draft(drafted)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size <= _MAX_DUMP_BYTES:
            with path.open("rb") as file:
                start = file.read(1)
            if start == b"{":  # a trace or JSON, neither written by hand
                return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(str(path), 0, 0, f"cannot be read: {error}")
        raise ScenarioError([problem]) from error
    return read_text(path)


def _dump(text: str) -> dict[str, Any] | None:
    """Return the data of a dump, None for anything else."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None  # YAML's flow style, or too deep, which the reader of YAML says with its place
    return data if is_config_dump(data) else None
