"""A scenario file to a checked scenario, or to every problem in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from envoyassert.errors import Problem, ScenarioError
from envoyassert.frozen import frozen
from envoyassert.input_file import MAX_SCENARIO, UnfitFileError, read_file
from envoyassert.scenario.coherence import coherence_problems
from envoyassert.scenario.complaint import problems_of
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.file_names import leads_out
from envoyassert.scenario.from_file import with_parts
from envoyassert.scenario.listeners import with_lists
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.source import Document, parse_yaml
from envoyassert.scenario.syntax import line_and_column

#: By which a file of Envoy is known that was given instead of a scenario: a bootstrap, what
#: `/config_dump` returns, or discovery responses.
_ENVOY_KEYS = {"static_resources", "dynamic_resources", "admin", "configs", "resources"}
_ENVOY_KEYS |= {"staticResources", "dynamicResources"}
_SCENARIO_KEYS = {"name", "envoy", "expect"}


@frozen
class LoadedScenario:
    """A scenario with the places in its file.

    Args:
        scenario: what the file says.
        path: the file.
        document: its text, data and places.
        config: the bootstrap before any overlay; {} if it is in a file that was not read.
        config_document: text and places of the config if it is in a file of its own.
        directory: where relative files of the config lie; None if no file is to be looked for.
        untrusted: whether it may do nothing but what is known to be harmless.
        own_envoy: whether its file says which Envoy is started, and how.
    """

    scenario: Scenario
    path: Path
    document: Document
    config: dict[str, Any]
    config_document: Document | None = None
    directory: Path | None = None
    untrusted: bool = False
    own_envoy: bool = True

    @property
    def folder(self) -> Path | None:
        """The folder that no file of it may lie outside of; None if files may lie anywhere."""
        return self.path.parent if self.untrusted else None

    @property
    def text(self) -> str:
        """The file's text."""
        return self.document.text

    def mark(self, path: tuple[str | int, ...]) -> tuple[int, int]:
        """Return line and column (from 1) of a path such as `("expect", 0, "bound", "times")`.

        A path that is not in the file has the place of the nearest part that encloses it.
        """
        return self.document.mark(path)

    def excerpt(self, line: int, column: int) -> str:
        """Return the numbered line with a caret under the column, after two lines before it."""
        return self.document.excerpt(line, column)


def load_scenario(
    path: Path, *, untrusted: bool = False, envoy: Mapping[str, object] | None = None
) -> LoadedScenario:
    """Read and check a scenario file and the config file it names.

    Args:
        path: the file; as it is given here, it stands in messages.
        untrusted: whether nothing outside of its folder is read, and `expand` refuses what is not
            known to be harmless.
        envoy: the section `envoy` of a file that has none, for an Envoy that something else
            started; None if every file must have one.

    Raises:
        ScenarioError: every problem that was found, in the order of the file.
    """
    if untrusted and leads_out(path, path.parent):
        message = "the scenario is untrusted, and a link that leads out of its folder"
        raise ScenarioError([Problem(str(path), 1, 1, message, "name the file that it leads to")])
    return parse_scenario(
        read_text(path), path, directory=path.parent, untrusted=untrusted, envoy=envoy
    )


def parse_scenario(
    text: str,
    path: Path,
    *,
    read_config: Callable[[str], str] | None = None,
    directory: Path | None = None,
    untrusted: bool = False,
    envoy: Mapping[str, Any] | None = None,
) -> LoadedScenario:
    """Check the text of a scenario.

    Args:
        text: the text.
        path: the file it is from, for messages and for the name that it must have.
        read_config: returns the text of a config file by the name that the scenario gives, or
            raises ScenarioError. Without it, they are read from `directory`.
        directory: where the scenario's files lie. Without it, no file is looked for, and config
            files are neither read nor checked if there is no `read_config` either.
        untrusted: as `load_scenario` takes it.
        envoy: as `load_scenario` takes it.

    Raises:
        ScenarioError: every problem that was found, in the order of the file.
    """
    if read_config is None and directory is not None:
        read_config = _reader(directory, path.parent if untrusted else None)
    document = parse_yaml(text, str(path))
    _refuse_other(document)
    document, part_problems = with_parts(document, read_config)
    data = document.data
    own_envoy = envoy is None or "envoy" in data
    if envoy is not None and not own_envoy:
        data = {**data, "envoy": dict(envoy)}
        document = replace(document, data=data)
    scenario = None
    problems: list[Problem] = []
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        problems = problems_of(error, document)
    problems = coherence_problems(document, path, problems, followed=envoy is not None)
    config, config_document, config_problems = _config(document, path, read_config)
    problems += [*part_problems, *config_problems]
    if problems:
        own = sorted(
            (problem for problem in problems if problem.path == document.path),
            key=lambda problem: (problem.line, problem.column),
        )
        raise ScenarioError([*own, *(p for p in problems if p.path != document.path)])
    assert scenario is not None
    if directory is not None and isinstance(scenario.envoy.config, str):
        directory = (directory / scenario.envoy.config).parent
    return LoadedScenario(
        *(scenario, path, document, config, config_document, directory, untrusted, own_envoy)
    )


def _refuse_other(document: Document) -> None:
    """Raise ScenarioError for a document that is no scenario at all."""
    data = document.data
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "plain text"
        if data is None:
            raise ScenarioError([document.problem((), "the file is empty")])
        raise ScenarioError(
            [document.problem((), f"a scenario is a mapping, not {kind}", "begin with `name: …`")]
        )
    if data.keys() & _ENVOY_KEYS and not data.keys() & _SCENARIO_KEYS:
        remedy = f"`envoyassert draft {document.path}` writes a scenario for it"
        raise ScenarioError(
            [document.problem((), "this is an Envoy config, not a scenario", remedy)]
        )


def _reader(directory: Path, folder: Path | None) -> Callable[[str], str]:
    def read(name: str) -> str:
        if folder is not None and leads_out(directory / name, folder):
            message = "the scenario is untrusted, and this leads out of its folder"
            raise ScenarioError([Problem(name, 0, 0, message)])
        return read_text(directory / name)

    return read


def _config(
    document: Document, path: Path, read_config: Callable[[str], str] | None
) -> tuple[dict[str, Any], Document | None, list[Problem]]:
    """Return the bootstrap, and its own document if it is in a file, and what is wrong with it."""
    envoy = document.data.get("envoy")
    config = envoy.get("config") if isinstance(envoy, dict) else None
    if isinstance(config, dict):
        return with_lists(config), None, []
    if not isinstance(config, str) or not config or read_config is None:
        return {}, None, []
    place = ("envoy", "config")
    if "\n" in config:
        message, remedy = "`config` is a block of text", "leave out the `|`, or name a file"
        return {}, None, [document.problem(place, message, remedy, at_value=True)]
    try:
        text = read_config(config)
    except ScenarioError as error:
        message = f"{config}: {error.problems[0].message}"
        remedy = f"the path is relative to {path.parent}/"
        return {}, None, [document.problem(place, message, remedy, at_value=True)]
    try:
        found = parse_envoy_file(text, str(path.parent / config))
    except ScenarioError as error:
        return {}, None, error.problems
    if not isinstance(found.data, dict):
        return {}, None, [found.problem((), "an Envoy config is a mapping")]
    return with_lists(found.data), found, []


def read_text(path: Path, max_bytes: int = MAX_SCENARIO) -> str:
    """Return the text of a file.

    Args:
        path: the file.
        max_bytes: how large it may be.

    Raises:
        ScenarioError: it cannot be read, is no regular file, is far too large, or is not UTF-8.
    """
    try:
        content = read_file(path, max_bytes)
    except UnfitFileError as error:
        raise ScenarioError([Problem(str(path), 0, 0, str(error))]) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        problem = Problem(str(path), 0, 0, f"cannot be read: {reason}")
        raise ScenarioError([problem]) from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = line_and_column(before, len(before))
        utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        message = "the file is UTF-16, not UTF-8" if utf_16 else "the text is not UTF-8"
        problem = Problem(str(path), line, column, message, "save it as UTF-8")
        raise ScenarioError([problem]) from error
