"""A prediction as expectations: what a drafted scenario prints, and what `matches_config` judges.

They are data as a scenario has them, so that one translation serves both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envoyassert.names import LEVELS
from envoyassert.predict.sockets import PHASES, SocketOption, SocketSet
from envoyassert.scenario.option_value import ANY_VALUE
from envoyassert.scenario.selector import OWN


@dataclass(frozen=True)
class Expected:
    """One item of `expect` about the sockets of an address, or of several that are equal.

    Args:
        listeners: names of the listeners whose sockets they are.
        item: the item.
    """

    listeners: tuple[str, ...]
    item: dict[str, Any]


def expected_of(sets: Sequence[SocketSet]) -> Iterator[Expected]:
    """Yield what is expected of sockets.

    Args:
        sets: the sockets, per address.
    """
    for one, names, take in merged_sets(sets):
        for item in _items(sets, one, len(names), take):
            yield Expected(tuple(dict.fromkeys(names)), item)


def _items(
    sets: Sequence[SocketSet], one: SocketSet, number: int, take: str
) -> list[dict[str, object]]:
    """Return the expectations of the sockets of one address, or of several that are equal."""
    selector = _selector(one, sets)
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
        for phase in PHASES
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


def merged_sets(sets: Sequence[SocketSet]) -> Iterator[tuple[SocketSet, tuple[str, ...], str]]:
    """Yield sets that a selector distinguishes, the listeners of their addresses, how to take them.

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
        names = tuple(one.name for one in (first, *others))
        by_name = first.address.port == 0
        if not others:
            yield first, names, ""
        elif by_name and all(other == first for other in others):
            yield first, names, "each_address"
        else:
            yield _summed([first, *others]), names, "total" if by_name else ""


def _summed(sets: Sequence[SocketSet]) -> SocketSet:
    first = sets[0]
    common = [o for o in first.options if all(one.options.count(o) == 1 for one in sets)]
    equal = all(one.options == first.options for one in sets)
    # The admin endpoint and a listener may have one path.
    same = len({(one.role, one.backlog) for one in sets}) == 1
    return replace(
        first,
        role=first.role if same else "",
        backlog=first.backlog if same else None,
        sockets=sum(one.sockets for one in sets),
        descriptors=_sum([one.descriptors for one in sets]),
        listens=_sum([one.listens for one in sets]),
        via="",
        options=first.options if equal else tuple(common),
        exact=equal and all(one.exact for one in sets),
        file=sets[-1].file,  # each of them makes the file again
    )


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
