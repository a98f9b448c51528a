"""One line for a repository's pytest configuration, in whichever file pytest reads it from.

The text around it stays as it is, comments and order included: the line goes right below its
section's header, and the result is parsed again to see that nothing else has changed.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import iniconfig

from envoyassert.errors import Problem, ScenarioError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Which Envoy scenarios run on; an option of the pytest plugin.
OPTION = "envoyassert_envoy"

#: File → its pytest sections, in pytest's order of precedence. Dotted names are TOML tables.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "pytest.toml": ("pytest",),
    ".pytest.toml": ("pytest",),
    "pytest.ini": ("pytest",),
    ".pytest.ini": ("pytest",),
    "pyproject.toml": ("tool.pytest.ini_options", "tool.pytest"),
    "tox.ini": ("pytest",),
    "setup.cfg": ("tool:pytest",),
}
#: Files that may hold pytest's configuration; the first that does is the one.
CANDIDATES = tuple(_SECTIONS)
# These are pytest's configuration even when they are empty.
_ALWAYS = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")

_COMMENT = (
    "# The Envoy that all scenarios run on; ENVOYASSERT_ENVOY and --envoyassert-envoy override it."
)


@dataclass(frozen=True)
class ConfigEdit:
    """The configuration before and after.

    Args:
        name: the file, relative to the repository.
        text: its new text, None if it stays as it is.
        new: whether there is no such file yet.
        to_add: lines that the user must add, because the file is written in a way that is not
            edited here; "" if there are none.
    """

    name: str
    text: str | None
    new: bool = False
    to_add: str = ""


def test_directories(files: Mapping[str, str]) -> list[str]:
    """Return the directories that plain `pytest` looks in (`testpaths`); [] for everywhere.

    Args:
        files: text of those of CANDIDATES that exist, by name.

    Raises:
        ScenarioError: a file cannot be parsed.
    """
    found = _find(files)
    given = _options(*found, files[found[0]]).get("testpaths", []) if found else []
    paths = shlex.split(given) if isinstance(given, str) else [str(path) for path in given]
    return [str(PurePosixPath(path)) for path in paths if not re.search(r"[*?\[]", path)]


def with_envoy(files: Mapping[str, str], version: str) -> ConfigEdit:
    """Return the edit that makes scenarios run on an Envoy.

    An option that is set already stays. Without any configuration, pyproject.toml is extended if
    there is one; else pytest.ini is made.

    Args:
        files: text of those of CANDIDATES that exist, by name.
        version: `1.40.0`.

    Raises:
        ScenarioError: a file cannot be parsed.
    """
    found = _find(files)
    if found is None:
        name = "pyproject.toml" if "pyproject.toml" in files else "pytest.ini"
        section = _SECTIONS[name][0]
        before = files.get(name, "")
        return ConfigEdit(name, _with_new_section(before, name, section, version), not before)
    name, section = found
    text = files[name]
    before_options = _options(name, section, text)
    if OPTION in before_options:
        return ConfigEdit(name, None)
    edited = _with_line(text, name, section, version)
    wanted = {**before_options, OPTION: _parsed_value(name, version)}
    if edited is None or not _reads_as(edited, name, section, wanted):
        return ConfigEdit(name, None, to_add=f"[{section}]\n{_line(name, version)}")
    return ConfigEdit(name, edited)


def _find(files: Mapping[str, str]) -> tuple[str, str] | None:
    """Return file and section that pytest takes its configuration from, None if there is none."""
    for name, sections in _SECTIONS.items():
        if name not in files:
            continue
        for section in sections:
            if _options(name, section, files[name]):
                return name, section
        if name in _ALWAYS or _has_empty(name, sections[0], files[name]):
            return name, sections[0]
    return None


def _options(name: str, section: str, text: str) -> dict[str, Any]:
    """Return the options in a section, {} if it is absent."""
    if not name.endswith(".toml"):
        parsed = _parse_ini(name, text)
        return dict(parsed[section].items()) if section in parsed else {}
    table: Any = _parse_toml(name, text)
    for part in section.split("."):
        table = table.get(part, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        return {}
    return {key: value for key, value in table.items() if key != "ini_options"}


def _has_empty(name: str, section: str, text: str) -> bool:
    """Return whether a section is there, known to hold nothing."""
    return bool(_header(name, section).search(text))


def _parse_ini(name: str, text: str) -> iniconfig.IniConfig:
    try:
        return iniconfig.IniConfig(name, data=text)
    except iniconfig.ParseError as error:
        raise _unreadable(name, error.lineno + 1, 1, error.msg) from error


def _parse_toml(name: str, text: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        line, column = (int(place[1]), int(place[2])) if place else (text.count("\n") + 1, 1)
        reason = str(error)[: place.start()] if place else str(error)
        raise _unreadable(name, line, column, reason) from error
    except RecursionError:
        raise _unreadable(name, 1, 1, "it is nested too deep") from None
    return parsed


def _unreadable(name: str, line: int, column: int, reason: str) -> ScenarioError:
    remedy = "pytest cannot read it either; repair it first"
    return ScenarioError([Problem(name, line, column, reason, remedy)])


def _with_line(text: str, name: str, section: str, version: str) -> str | None:
    """Return the text with the option right below its section's header; None if it has none."""
    lines = text.split("\n")
    header = _header(name, section)
    for number, line in enumerate(lines):
        if header.fullmatch(line.rstrip("\r")):
            end = "\r" if line.endswith("\r") else ""
            added = [_COMMENT + end, _line(name, version) + end]
            return "\n".join([*lines[: number + 1], *added, *lines[number + 1 :]])
    if section in text:
        return None
    return _with_new_section(text, name, section, version)


def _with_new_section(text: str, name: str, section: str, version: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += end
    gap = end if text else ""
    return text + gap + end.join([f"[{section}]", _COMMENT, _line(name, version), ""])


def _header(name: str, section: str) -> re.Pattern[str]:
    inner = re.escape(section)
    if name.endswith(".toml"):
        inner = r"\s*" + r"\s*\.\s*".join(map(re.escape, section.split("."))) + r"\s*"
    return re.compile(rf"^[ \t]*\[{inner}\][ \t]*(?:#.*)?\r?$", re.MULTILINE)


def _line(name: str, version: str) -> str:
    return f'{OPTION} = ["{version}"]' if name.endswith(".toml") else f"{OPTION} = {version}"


def _parsed_value(name: str, version: str) -> Any:
    return [version] if name.endswith(".toml") else version


def _reads_as(text: str, name: str, section: str, wanted: dict[str, Any]) -> bool:
    try:
        return _options(name, section, text) == wanted
    except ScenarioError:
        return False
