"""A draft as the text of a scenario."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import yaml

from envoyassert.draft.expected import Draft
from envoyassert.names import LEVELS
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.scenario.option_value import ANY_VALUE
from envoyassert.scenario.selector import OWN
from envoyassert.shown import shown
from envoyassert.words.of_listener.only_options import OnlyOptions

#: A draft has no more lines than this; it becomes terse to keep to it.
MAX_LINES = 30

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
    tail.append(f"  - process: {{{'live' if draft.admin else 'stays_up'}: true}}")
    items = [item for one in merged_sets(draft.sets) for item in _items(draft, *one)]
    body = [line for item in items for line in _block(item)]
    if len(head) + len(body) + len(tail) > MAX_LINES:
        body = [f"  - {_flow(item)}" for item in items]
    return "\n".join([*head, *body, *tail]) + "\n"


def requires_of(draft: Draft) -> dict[str, str]:
    """Return what a draft needs to be run, as the field of a scenario; {} for nothing."""
    requires = {"envoy": draft.requires} if draft.requires else {}
    if any(one.key in ("addresses", "netns") for one in draft.envoy):
        requires["launcher"] = "process"
    return requires


def _items(draft: Draft, one: SocketSet, number: int, take: str) -> list[dict[str, object]]:
    """Return the expectations of the sockets of one address, or of several that are equal."""
    selector = _selector(one, draft.sets)
    taken = {"take": take} if take else {}
    bound = _times(one.sockets, one.bound_by)
    item: dict[str, Any] = {"listener": selector, **taken, "bound": bound}
    if one.role == "none":
        item["served_by"] = one.role
    elif one.role:
        via = {"via": one.via} if one.via else {}
        item["listened"] = {"by": one.role, **via}
    if one.listens is not None:
        item["listen_calls"] = _times(one.listens, one.listen_by) if one.listens else "none"
    if one.mask:
        item["registered"] = list(one.mask)
    if one.descriptors is not None:
        item["descriptors"] = one.descriptors
    if one.backlog is not None:
        item["backlog"] = one.backlog
    if one.exact:
        item["only_options"] = _by_phase(one.options)
    elif one.options:
        item["options"] = _option_rules(one.options)
    if one.file is not None:
        unlinked, mode = one.file
        item["socket_file"] = {"unlinked_before_bind": unlinked, "mode": mode}
    items = [item]
    if one.address.port == 0:
        at = {"host": one.address.host, "port": 0}
        asked = {"call": "bind", "listener": selector, "args": {"address": at}}
        items.append({"calls": {**asked, "times": number}})
    return items


def _times(number: int, role: str) -> dict[str, object]:
    return {"times": number, **({"by": role} if role else {})}


def _selector(one: SocketSet, sets: Sequence[SocketSet]) -> dict[str, object]:
    address = one.address
    if address.path is not None:
        return {"path": address.path, "protocol": one.protocol}
    if address.abstract is not None:
        return {"abstract": address.abstract, "protocol": one.protocol}
    if address.port == 0:
        place = {"name": one.name, "address": address.host, "port": 0, "protocol": one.protocol}
        rivals = [o for o in sets if o.name == one.name]
    else:
        place = {"address": address.host, "port": address.port, "protocol": one.protocol}
        rivals = [*sets]
    elsewhere = any(o.address.netns and o.address.place == address.place for o in rivals)
    netns = address.netns or (OWN if elsewhere else "")
    return {**place, "netns": netns} if netns else place


def _by_phase(options: Sequence[SocketOption]) -> dict[str, object]:
    """Return options as `only_options` takes them."""
    found: dict[str, dict[str, list[Any]]] = {}
    for option in options:
        values = found.setdefault(option.phase, {}).setdefault(_key(option), [])
        values.append(ANY_VALUE if option.value is None else option.value)
    return {
        phase: {key: v if len(v) > 1 else v[0] for key, v in found[phase].items()}
        for phase in OnlyOptions.model_fields
        if phase in found
    }


def _option_rules(options: Sequence[SocketOption]) -> dict[str, object]:
    """Return options as `options` takes them, of sockets that may have others as well."""
    rules: dict[str, Any] = {}
    for option in options:
        value = {} if option.value is None else {"value": option.value}
        rules[_key(option)] = {**value, "phase": option.phase}
    return rules


def _key(option: SocketOption) -> str:
    if isinstance(option.name, str):
        return option.name
    numbers = {name: number for number, name in LEVELS.items()}
    level = option.level if isinstance(option.level, int) else numbers[option.level]
    return f"{level}/{option.name}"


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


def merged_sets(sets: Sequence[SocketSet]) -> Iterator[tuple[SocketSet, int, str]]:
    """Yield the sets that a draft describes, each for so many addresses, and how it takes them.

    No selector distinguishes sets of equal addresses. On port 0, where they are those of one
    listener, each asks the kernel for a port of its own; on another they share it.

    Sets that are equal and on port 0 become one of which `each_address` is like it; others of one
    place become one with their sums, which says of options what they have in common.

    Args:
        sets: the sockets, per address.
    """
    groups: dict[object, list[SocketSet]] = {}
    for one in sets:
        name = one.name if one.address.port == 0 else ""
        groups.setdefault((name, one.address, one.protocol), []).append(one)
    for first, *others in groups.values():
        number = 1 + len(others)
        by_name = first.address.port == 0
        if not others:
            yield first, number, ""
        elif by_name and all(other == first for other in others):
            yield first, number, "each_address"
        else:
            yield _summed([first, *others]), number, "total" if by_name else ""


def _summed(sets: Sequence[SocketSet]) -> SocketSet:
    first = sets[0]
    common = [o for o in first.options if all(one.options.count(o) == 1 for one in sets)]
    equal = all(one.options == first.options for one in sets)
    return replace(
        first,
        sockets=sum(one.sockets for one in sets),
        descriptors=_sum([one.descriptors for one in sets]),
        listens=_sum([one.listens for one in sets]),
        via="",
        options=first.options if equal else tuple(common),
        exact=equal and all(one.exact for one in sets),
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
