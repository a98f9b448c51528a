"""Where a command works: a current directory that exists, Linux for what runs Envoy, and files."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

import click

from envoyassert.errors import MachineError
from envoyassert.input_file import MAX_SCENARIO, UnfitFileError, read_start

#: Marked by name as a scenario, whatever is in it.
SUFFIXES = (".envoyassert.yaml", ".envoyassert.yml")
_YAML = (".yaml", ".yml")
# One of the two top-level keys that only a scenario has. Either is enough, so that a scenario with
# the other misspelt is complained about and not passed over.
_SCENARIO_KEY = re.compile(rb"^[\"']?(envoy|expect)[\"']?\s*:", re.MULTILINE)


def scenario_files(paths: Iterable[str]) -> list[Path]:
    """Return the scenario files that the paths name: files as they are, directories searched.

    In a directory, a YAML file is a scenario if its name says so or if it has the top-level key
    `envoy` or `expect`; other YAML files (Envoy configs, say) are left alone, and so are hidden
    files and virtual environments.

    Args:
        paths: what the user named; nothing means the current directory.

    Raises:
        click.UsageError: a path does not exist.
    """
    found: list[Path] = []
    for name in paths or (".",):
        path = Path(name)
        if path.is_dir():
            found += sorted(file for file in _yaml_files(path) if _is_scenario(file))
        elif path.exists():
            found.append(path)
        else:
            raise click.UsageError(f"there is no file or directory {name}")
    return list(dict.fromkeys(found))


def _yaml_files(directory: Path) -> Iterable[Path]:
    for place, directories, files in os.walk(directory):
        # pyvenv.cfg marks a virtual environment (PEP 405): what is installed is not the user's.
        directories[:] = [
            name
            for name in directories
            if not name.startswith(".") and not Path(place, name, "pyvenv.cfg").is_file()
        ]
        for name in files:
            if name.endswith(_YAML) and not name.startswith("."):
                yield Path(place, name)


def _is_scenario(path: Path) -> bool:
    if path.name.endswith(SUFFIXES):
        return True
    try:
        return _SCENARIO_KEY.search(read_start(path, MAX_SCENARIO)) is not None
    except (UnfitFileError, OSError):
        # What cannot be read, or may never end: let the loader say so.
        return True


#: What to do about any other system.
REMEDY = "run it on Linux, or in a Linux VM"


def check_here() -> None:
    """Make sure that there is a current directory: paths are relative to it.

    Another process may have removed it.

    Raises:
        MachineError: it was removed.
    """
    try:
        os.getcwd()  # noqa: PTH109 - pathlib calls it too
    except FileNotFoundError as error:
        raise MachineError(
            "the current directory was removed", "change to one that exists (cd)"
        ) from error


def need_linux() -> None:
    """Return on Linux.

    Called before what exists on Linux only is imported.

    Raises:
        MachineError: this is another system.
    """
    system = platform.system()
    if system != "Linux":
        raise MachineError(
            f"this needs Linux, and here is {system}",
            f"{REMEDY}; traces are judged, shown and compared anywhere",
        )
