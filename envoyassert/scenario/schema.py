"""The JSON Schema of scenario files, for editors; made from the models that the loader validates.

Run as a module it writes the schema into the package:

    python -m envoyassert.scenario.schema

What the schema cannot say and the loader checks in addition: that the name is the file's, that the
config file is there, what `when` and the matrix have to do with each other and with the config,
that errors and arguments of calls are known ones, that bounds leave a number, what variables stand
for, what phases have to do with the steps, that no variable is the project's own, that no text for
a process holds a NUL, that the file of a socket is asked of a path, that a mask fits its trigger,
and the rules of `envoyassert.scenario.source` for YAML text. JSON knows one kind of number, so
`5.0` passes for a whole number in the schema and not in the loader.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from envoyassert.calls.sockets import OPTION_NAMES
from envoyassert.scenario.model import Scenario
from envoyassert.scenario.vocabulary import (
    CALL_ARGUMENTS,
    OPTION_PATTERN,
    QUALIFIED_OPTION_PATTERN,
)

#: The generated file.
SCHEMA_FILE = Path(__file__).parent.parent / "schema" / "scenario.schema.json"

_CALLS = list(CALL_ARGUMENTS)


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(scenario_schema(), indent=1, ensure_ascii=False) + "\n"


@cache
def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a scenario file.

    It is made once: do not change it.
    """
    schema = Scenario.model_json_schema()
    for step in (_without_noise, _with_any_of, _with_closed_patterns, _with_named_calls):
        schema = _everywhere(schema, step)
    definitions = schema.pop("$defs")
    definitions["CallName"] = {
        "description": "A call that is recorded, or one of the kernel's own facts.",
        "enum": _CALLS,
    }
    options = definitions["ListenerExpectation"]["properties"]["options"]
    definitions["OptionRule"] = options["patternProperties"].pop(OPTION_PATTERN)
    rule = {"$ref": "#/$defs/OptionRule"}
    options["properties"] = dict.fromkeys(OPTION_NAMES, rule)
    # Names are listed one by one, so that editors complete them.
    options["patternProperties"] = {QUALIFIED_OPTION_PATTERN: rule}
    axis = schema["properties"]["matrix"]["additionalProperties"]
    for form in axis["anyOf"]:
        if form["type"] == "array":
            form["uniqueItems"] = True
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "envoyassert scenario",
        **schema,
        "$defs": dict(sorted(definitions.items())),
    }


def _everywhere(value: Any, step: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a schema with a step applied to every object in it, innermost first."""
    if isinstance(value, dict):
        return step({key: _everywhere(member, step) for key, member in value.items()})
    if isinstance(value, list):
        return [_everywhere(element, step) for element in value]
    return value


def _without_noise(part: dict[str, object]) -> dict[str, object]:
    """Drop generated titles and null: a key that is given has a value."""
    if isinstance(part.get("title"), str):
        del part["title"]
    forms = part.get("anyOf")
    if isinstance(forms, list) and {"type": "null"} in forms:
        (form,) = [form for form in forms if form != {"type": "null"}]
        part = {**form, **{key: member for key, member in part.items() if key != "anyOf"}}
    default = part.get("default")
    if default is None:
        part.pop("default", None)
    elif isinstance(default, dict):
        part["default"] = {key: value for key, value in default.items() if value is not None}
    return part


def _with_any_of(part: dict[str, object]) -> dict[str, object]:
    """Say anyOf for the forms of a choice: 1 is an integer and a number."""
    forms = part.get("oneOf")
    if isinstance(forms, list) and not all(set(form) == {"required"} for form in forms):
        part["anyOf"] = part.pop("oneOf")
    return part


def _with_closed_patterns(part: dict[str, object]) -> dict[str, object]:
    """Close mappings whose keys have a pattern: other keys are refused."""
    if "patternProperties" in part:
        part["additionalProperties"] = False
    return part


def _with_named_calls(part: dict[str, object]) -> dict[str, object]:
    """Refer to the list of calls instead of repeating it."""
    if part.get("enum") == _CALLS:
        return {"$ref": "#/$defs/CallName"}
    return part


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
