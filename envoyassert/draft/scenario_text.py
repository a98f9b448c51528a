"""A draft as the text of a scenario."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from envoyassert.draft.expected import Draft
from envoyassert.predict.expectations import expected_of
from envoyassert.shown import shown

# What begins with a dot may be a number (`.5`, `.inf`), unless it is a relative path.
_PLAIN = re.compile(r"([A-Za-z_/]|\.{1,2}/)[A-Za-z0-9_./-]*|\d+\.\d+\.\d+\.\d+")
#: What a CI system may take for a command, at a line's beginning or anywhere.
_COMMAND = re.compile(r"##|\s::")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def draft_text(draft: Draft, name: str, config: str | dict[str, Any], source: str) -> str:
    """Return the text of a scenario.

    Args:
        draft: what it pins.
        name: its name, the stem of its file.
        config: the config file, relative to the scenario, or the config itself.
        source: what it was drafted from, for a comment.
    """
    head = [
        f"# Drafted from {shown(source)}. It pins what Envoy does with its sockets: a change of",
        "# reuse_port, concurrency, an address, an option or the backlog makes it fail.",
        *(f"# Note: {shown(note)}." for note in (*draft.notes, *draft.silences)),
        f"name: {name}",
        f"description: {_flow(f'The sockets of {source}.')}",
    ]
    if requires := requires_of(draft):
        head.append(f"requires: {_flow(requires)}")
    if draft.assume:
        head.append(f"assume: {_flow(list(draft.assume))}")
    head += [
        "envoy:",
        f"  concurrency: {draft.concurrency}  # the counts below are for this many workers",
        f"  config: {_flow(config)}",
        *(f"  {one.key}: {_flow(one.value)}  # {shown(one.why)}" for one in draft.envoy),
        "expect:",
    ]
    tail = []
    if draft.closed:
        tail.append("  - no_others: true  # no socket but these, and Envoy's own for hot restart")
    up = f"{'live' if draft.admin else 'stays_up'}: true"
    tail.append(f"  - process: {{{up if draft.starts else 'exits: nonzero'}}}")
    # In one form however many there are: a further address adds lines, and changes none.
    body = [line for one in expected_of(draft.sets) for line in _block(one.item)]
    return "\n".join([*head, *body, *tail]) + "\n"


def requires_of(draft: Draft) -> dict[str, str]:
    """Return what a draft needs to be run, as the field of a scenario; {} for nothing."""
    requires = {"envoy": draft.requires} if draft.requires else {}
    if any(one.key in ("addresses", "netns") for one in draft.envoy):
        requires["launcher"] = "process"
    return requires


def _block(item: dict[str, object]) -> list[str]:
    lines = [f"{key}: {_flow(value)}" for key, value in item.items()]
    return [f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]


class _Dumper(yaml.SafeDumper):
    """Writes text in double quotes where it needs an escape that YAML itself does not ask for."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        style = '"' if _COMMAND.search(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def block_lines(data: dict[str, object]) -> list[str]:
    """Return data as lines of YAML in block style, for a file of its own."""
    dumped = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=100)
    return [shown(line) for line in dumped.splitlines()]


def _flow(value: object) -> str:
    """Return a value in YAML's flow style, quoted where it must be."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        # JSON escapes what ends the quotes, and the rest has the form of YAML's escapes.
        return value if plain else shown(json.dumps(value, ensure_ascii=False))
    return json.dumps(value)
