"""One machine's part of the runs: `--shard`, by pytest-split."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def shard_options(command: F) -> F:
    """Add `--shard` and `--durations-path`."""
    command = click.option(
        "--durations-path",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
        help="With --shard: parts that took equally long, by durations.json of `merge`.",
    )(command)
    return click.option(
        "--shard",
        metavar="I/N",
        help="Run the I-th of N parts of the runs alone; `merge` joins the reports.",
    )(command)


def shard_arguments(shard: str | None, durations: Path | None) -> tuple[str, ...]:
    """Return the arguments of pytest-split for the values of the options.

    Args:
        shard: `2/3`; None for all runs.
        durations: the file of durations, if one is named.

    Raises:
        click.UsageError: a value is wrong, or pytest-split is not installed.
    """
    if shard is None:
        if durations is not None:
            raise click.UsageError("--durations-path goes with --shard I/N")
        return ()
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", shard)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise click.UsageError(f"--shard: `{shard}` is not I/N with I from 1 to N, such as 2/3")
    if find_spec("pytest_split") is None:
        raise click.UsageError(
            "--shard needs pytest-split; install it: pip install 'envoyassert[shard]'"
        )
    if durations is not None:
        _check(durations)
    path = () if durations is None else (f"--durations-path={durations}",)
    return (f"--splits={found[2]}", f"--group={found[1]}", *path)


def _check(durations: Path) -> None:
    from envoyassert.input_file import UnfitFileError
    from envoyassert.pytest_plugin.division import read_durations

    try:
        read_durations(durations)
    except (OSError, UnfitFileError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise click.UsageError(f"--durations-path: {durations}: {why}") from error
