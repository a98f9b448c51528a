"""A draft as the text of a scenario."""

from __future__ import annotations

import json
import re
from typing import Any

from envoyassert.addresses import Address
from envoyassert.draft.expected import Draft, DraftOption, SocketSet
from envoyassert.names import LEVELS

#: A draft has no more lines than this; it becomes terse to keep to it.
MAX_LINES = 30

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*|\d+\.\d+\.\d+\.\d+")
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
        f"# Drafted from {source}. It pins what Envoy does with its sockets: a change of",
        "# reuse_port, concurrency, an address, an option or the backlog makes it fail.",
        *(f"# Note: {note}." for note in draft.notes),
        f"name: {name}",
        f"description: {_flow(f'The sockets of {source}.')}",
    ]
    if draft.requires:
        head.append(f"requires: {{envoy: {_flow(draft.requires)}}}")
    if draft.assume:
        head.append(f"assume: {_flow(list(draft.assume))}")
    head += [
        "envoy:",
        f"  concurrency: {draft.concurrency}  # the counts below are for this many workers",
        f"  config: {_flow(config)}",
        *(f"  {one.key}: {_flow(one.value)}  # {one.why}" for one in draft.envoy),
        "expect:",
    ]
    tail = []
    if draft.closed:
        tail.append("  - no_others: true  # no socket but these, and Envoy's own for hot restart")
    tail.append(f"  - process: {{{'live' if draft.admin else 'stays_up'}: true}}")
    items = [item for one in draft.sets for item in _items(one, draft)]
    body = [line for item in items for line in _block(item)]
    if len(head) + len(body) + len(tail) > MAX_LINES:
        body = [f"  - {_flow(item)}" for item in items]
    return "\n".join([*head, *body, *tail]) + "\n"


def _items(one: SocketSet, draft: Draft) -> list[dict[str, Any]]:
    """Return the expectations of the sockets of one address."""
    selector = _selector(one, draft)
    by = {} if draft.assume else {"by": "main"}
    item: dict[str, Any] = {"listener": selector, "bound": {"times": one.sockets, **by}}
    if one.role == "none":
        item["served_by"] = one.role
    elif one.role:
        via = {"via": one.via} if one.via else {}
        item["listened"] = {"by": one.role, **via}
    if one.descriptors != one.sockets and not draft.assume:
        item["descriptors"] = one.descriptors
    options = _option_rules(one)
    if options:
        item["options"] = options
    if one.backlog is not None:
        item["backlog"] = one.backlog
    items = [item]
    if one.address.port == 0:
        at = {"host": one.address.host, "port": 0}
        asked = {"call": "bind", "listener": selector, "args": {"address": at}, "times": 1}
        items.append({"calls": asked})
    if one.option_calls is not None:
        counted = {"call": "setsockopt", "listener": selector, "succeeds": True}
        items.append({"calls": {**counted, "times": one.option_calls}})
    return items


def _selector(one: SocketSet, draft: Draft) -> dict[str, Any]:
    address = one.address
    if address.path is not None:
        return {"path": address.path}
    if address.abstract is not None:
        return {"abstract": address.abstract}
    if address.port == 0:
        return {"name": one.name, "address": address.host}
    selector: dict[str, Any] = {"address": address.host, "port": address.port}
    shared = [s for s in draft.sets if _place(s.address) == _place(address)]
    if one.protocol != "TCP" or len(shared) > 1:
        selector["protocol"] = one.protocol
    if address.netns:
        selector["netns"] = address.netns
    return selector


def _place(address: Address) -> tuple[str, int | None, str]:
    return address.host, address.port, address.netns


def _option_rules(one: SocketSet) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if one.protocol != "UNIX":
        rules["SO_REUSEPORT"] = "absent"
    names = [_key(option) for option in one.options]
    for key, option in zip(names, one.options, strict=True):
        if key == "SO_REUSEADDR" and names.count(key) == 1:
            continue  # Envoy sets it always; a change of it shows in the number of calls
        if option.value is None:
            rules[key] = "set"
        elif names.count(key) > 1:
            rules[key] = option.value if isinstance(option.value, int) else "set"
        else:
            rules[key] = {"value": option.value, "phase": option.phase}
    return rules


def _key(option: DraftOption) -> str:
    if isinstance(option.name, str):
        return option.name
    numbers = {name: number for number, name in LEVELS.items()}
    level = option.level if isinstance(option.level, int) else numbers[option.level]
    return f"{level}/{option.name}"


def _block(item: dict[str, Any]) -> list[str]:
    lines = [f"{key}: {_flow(value)}" for key, value in item.items()]
    if item.get("calls", {}).get("call") == "setsockopt":
        lines[0] += "  # no option besides"
    return [f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])]


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style, quoted where it must be."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
