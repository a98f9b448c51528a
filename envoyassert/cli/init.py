"""`envoyassert init`: a first scenario, pytest's configuration and a CI file for a repository."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shlex
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any, NamedTuple

import click

from envoyassert.cli.output import say
from envoyassert.errors import MachineError, Problem, ScenarioError
from envoyassert.input_file import MAX_SCENARIO, UnfitFileError, read_file
from envoyassert.output_file import write_lines
from envoyassert.report.table import columns
from envoyassert.scenario.plan import DEFAULT_VERSION
from envoyassert.starter import TRACES
from envoyassert.starter.files import (
    CI_KINDS,
    StarterFile,
    ci_files,
    first_scenario,
    requirement,
)
from envoyassert.starter.pytest_config import (
    CANDIDATES,
    OPTION,
    ConfigEdit,
    test_directories,
    with_envoy,
)

_IGNORED = ".gitignore"
_LEADS_OUT = "left as it is: a link that leads out of the repository"


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--ci",
    type=click.Choice([*CI_KINDS, "none"]),
    default="github",
    show_default=True,
    help="Which continuous integration to write a file for.",
)
@click.option("--force", is_flag=True, help="Replace a scenario or a CI file that is there.")
def init(directory: Path, ci: str, force: bool) -> None:
    """Set a repository up for scenarios.

    Writes a first scenario that explains itself, one line for pytest (in the file that holds its
    configuration already, else in pytest.ini), one in .gitignore for traces, and a CI file. What is
    there stays as it is.

    DIRECTORY is the root of the repository; without it, the current directory.

    Example: envoyassert init --ci gitlab
    """
    configs = _read_configs(directory)
    with _named_below(directory):
        scenarios = _place_of_scenarios(directory, test_directories(configs))
        edit = with_envoy(configs, DEFAULT_VERSION)
    files = [first_scenario(scenarios)]
    wanted = requirement(version("envoyassert"), _origin())
    if ci != "none":
        files += ci_files(ci, scenarios, wanted.text)
    done = [_write(directory, file, force) for file in files]
    done[1:1] = [_edit_config(directory, edit), _ignore_traces(directory)]
    for line in columns([(item.what, item.name, item.note) for item in done]):
        say(line)
    for item in done:
        if item.to_do:
            say("", *f"{item.name}: {item.to_do}".split("\n"))
    if ci != "none" and wanted.made_by:
        say("", f"CI installs {wanted.text}: {wanted.made_by}")
    if ci != "none" and _is_below_a_repository(directory):
        say("", f"note: CI files count in the root of a repository; {directory} is none")
    where = shlex.quote(str(directory / scenarios))
    say("", f"next: envoyassert check {where}")
    say(f'      sudo "$(command -v envoyassert)" run {where}')


class _Done(NamedTuple):
    """The result for one file: a word, its name, what it is or why it stays, and what is left."""

    what: str
    name: str
    note: str
    to_do: str = ""


def _write(directory: Path, file: StarterFile, force: bool) -> _Done:
    path = directory / file.name
    existed = os.path.lexists(path)
    if existed and _text_of(path) == file.text:
        return _Done("exists", file.name, "as init writes it")
    if existed and not (force and not file.instead):
        note = "left as it is" if file.instead else "left as it is; --force replaces it"
        return _Done("exists", file.name, note, file.instead)
    write_lines(file.text.splitlines(), path, below=directory)
    return _Done("replaced" if existed else "wrote", file.name, file.purpose)


def _edit_config(directory: Path, edit: ConfigEdit) -> _Done:
    if edit.to_add:
        return _Done("exists", edit.name, "left as it is", f"add to it:\n{edit.to_add}")
    if edit.text is None:
        return _Done("exists", edit.name, f"sets {OPTION} already")
    path = _target(directory, edit.name)
    if path is None:
        return _Done("exists", edit.name, _LEADS_OUT, f"set {OPTION} there")
    write_lines(edit.text.removesuffix("\n").split("\n"), path)
    note = "pytest collects *.envoyassert.yaml; this says on which Envoy"
    return _Done("wrote" if edit.new else "extended", edit.name, note)


def _ignore_traces(directory: Path) -> _Done:
    path = directory / _IGNORED
    entry = f"{TRACES}/"
    existed = os.path.lexists(path)
    lines = _text_of(path).splitlines()
    if {line.strip().strip("/") for line in lines} & {TRACES, f"**/{TRACES}"}:
        return _Done("exists", _IGNORED, f"has {entry} already")
    if existed and not lines and path.resolve().stat().st_size:
        return _Done("exists", _IGNORED, "left as it is", f"add to it:\n{entry}")
    target = _target(directory, _IGNORED)
    if target is None:
        return _Done("exists", _IGNORED, _LEADS_OUT, f"add to it:\n{entry}")
    write_lines([*lines, entry], target)
    return _Done("extended" if existed else "wrote", _IGNORED, "keeps traces out of commits")


def _target(directory: Path, name: str) -> Path | None:
    """Return the file that is written for a name: a link stays one. None if it leads out."""
    target = (directory / name).resolve()
    return target if target.is_relative_to(directory.resolve()) else None


def _origin() -> dict[str, Any] | None:
    """Return where pip installed envoyassert from, None if from a package index (PEP 610)."""
    found = distribution("envoyassert").read_text("direct_url.json")
    return None if found is None else json.loads(found)


def _text_of(path: Path) -> str:
    """Return what is in a file; "" if that is no text, as of nothing that init writes."""
    try:
        return _decoded(read_file(path, MAX_SCENARIO))
    except (OSError, UnfitFileError, UnicodeDecodeError):
        return ""


def _decoded(content: bytes) -> str:
    """Return text with all ends of lines made the same."""
    return io.StringIO(content.decode("utf-8"), newline=None).read()


def _is_below_a_repository(directory: Path) -> bool:
    here = directory.resolve()
    return not (here / ".git").exists() and any((up / ".git").exists() for up in here.parents)


@contextlib.contextmanager
def _named_below(directory: Path) -> Iterator[None]:
    """Name files in problems as the user would, and not relative to the repository."""
    try:
        yield
    except ScenarioError as error:
        problems = [
            dataclasses.replace(problem, path=str(directory / problem.path))
            for problem in error.problems
        ]
        raise ScenarioError(problems) from error


def _read_configs(directory: Path) -> dict[str, str]:
    found = {}
    for name in CANDIDATES:
        path = directory / name
        try:
            found[name] = read_file(path, MAX_SCENARIO).decode("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except UnicodeDecodeError as error:
            problem = Problem(
                str(path), 0, 0, f"byte {error.start} is not UTF-8", "save it as UTF-8"
            )
            raise ScenarioError([problem]) from error
        except (OSError, UnfitFileError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise MachineError(
                f"{path} cannot be read: {reason}", "make it readable, or move it away"
            ) from error
    return found


def _place_of_scenarios(directory: Path, testpaths: list[str]) -> str:
    """Return where scenarios go so that plain `pytest` finds them, relative to the repository."""
    for path in testpaths:
        if (directory / path).is_dir():
            return "scenarios" if path == "." else f"{path}/scenarios"
    return "scenarios"
