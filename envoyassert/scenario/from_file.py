"""Parts of a scenario that lie in files of their own: `{from: PATH}` stands for what PATH holds.

A file of `envoy.files` has its text. What `envoy.xds` serves are the resources of the file, which
is a discovery response as Envoy reads one of LDS or CDS, or a list of resources.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from envoyassert.errors import Problem, ScenarioError
from envoyassert.scenario.envoy_file import parse_envoy_file
from envoyassert.scenario.listeners import items_of, proto_field
from envoyassert.scenario.source import Document, Path

FROM = "from"
#: The schema of such a part, for editors.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {FROM: {"type": "string", "minLength": 1}},
    "required": [FROM],
    "additionalProperties": False,
}
#: The schema of data that may lie in a file; no file of Envoy has `from`.
SCHEMA_OF_DATA: dict[str, Any] = {
    "anyOf": [SCHEMA, {"type": "object", "not": {"required": [FROM]}}],
}


def or_from_file(schema: dict[str, Any]) -> None:
    """Let the schema of a field take `{from: PATH}` too."""
    own = {key: schema.pop(key) for key in [*schema] if key not in ("description", "default")}
    schema["anyOf"] = [own, SCHEMA]


def with_parts(
    document: Document, read: Callable[[str], str] | None
) -> tuple[Document, list[Problem]]:
    """Return a scenario's document with what lies in files of their own, and what is wrong there.

    Args:
        document: of the scenario.
        read: returns the text of a file by the name that the scenario gives, or raises
            ScenarioError. None if nothing is read: such a part is then empty.
    """
    problems: list[Problem] = []
    data = document.data
    for place in _beside_a_name(data):
        remedy = "leave it out, or write what the file holds as text (`|`)"
        problems.append(document.problem(place, "`from` names a file alone", remedy))
    for path, name in _named(data):
        is_text = path[1] == "files"
        empty: Any = "\n" if is_text else []
        try:
            content = empty if read is None else _content(document, path, name, read, is_text)
        except ScenarioError as error:
            problems += error.problems
            content = empty
        data = _with(data, path, content)
    if data is not document.data:
        # What the other files hold was not looked at as it was read.
        document = replace(document, data=data, has_nulls=True, has_placeholders=True)
    return document, problems


def _named(data: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the parts that lie in files, and the name of each."""
    envoy = data.get("envoy") if isinstance(data, dict) else None
    for section, keys in (("files", None), ("xds", ("listeners", "resources"))):
        parts = envoy.get(section) if isinstance(envoy, dict) else None
        for key, part in parts.items() if isinstance(parts, dict) else ():
            if isinstance(part, dict) and [*part] == [FROM] and (keys is None or key in keys):
                yield ("envoy", section, key), part[FROM]


def _beside_a_name(data: Any) -> Iterator[Path]:
    """Yield what stands beside the name of a file of `envoy.files`: no file of Envoy has `from`."""
    envoy = data.get("envoy") if isinstance(data, dict) else None
    files = envoy.get("files") if isinstance(envoy, dict) else None
    for key, part in files.items() if isinstance(files, dict) else ():
        if isinstance(part, dict) and FROM in part and len(part) > 1:
            yield ("envoy", "files", key, next(other for other in part if other != FROM))


def _content(
    document: Document, path: Path, name: Any, read: Callable[[str], str], is_text: bool
) -> Any:
    place = (*path, FROM)
    if not isinstance(name, str) or not name:
        raise ScenarioError([document.problem(place, "`from` must be the name of a file")])
    try:
        text = read(name)
    except ScenarioError as error:
        message = f"{name}: {error.problems[0].message}"
        remedy = "the path is relative to the scenario"
        problem = document.problem(place, message, remedy, at_value=True)
        raise ScenarioError([problem]) from error
    if is_text:
        return text
    found = parse_envoy_file(text, str(pathlib.Path(document.path).parent / name))
    if isinstance(found.data, list):
        return found.data
    resources = proto_field(found.data, "resources")
    if not isinstance(resources, list):
        remedy = "write `resources: […]` in it, as Envoy reads a file of LDS"
        raise ScenarioError([found.problem((), "this holds no resources", remedy)])
    return items_of(resources)


def _with(data: Any, path: Path, content: Any) -> Any:
    """Return data with another value at a path; parts of it may be shared by an alias."""
    if not path:
        return content
    return {**data, path[0]: _with(data[path[0]], path[1:], content)}
