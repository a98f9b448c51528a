"""Network namespaces that a config names, and those that a run makes in their place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from envoyassert.scenario.complaint import Complaint
from envoyassert.scenario.listeners import proto_name
from envoyassert.scenario.model import OwnNetns

#: Where a run makes its network namespaces: each is a file of this directory, by its name.
MADE = "${rundir}/netns/"
_FIELD = "network_namespace_filepath"


def namespaces_named(config: object) -> dict[str, None]:
    """Return the files by which a config enters network namespaces, each once, in its order."""
    found: dict[str, None] = {}
    if isinstance(config, dict):
        for key, member in config.items():
            if proto_name(str(key)) == _FIELD and isinstance(member, str):
                found[member] = None
            found |= namespaces_named(member)
    elif isinstance(config, list):
        for element in config:
            found |= namespaces_named(element)
    return found


def namespace_complaints(namespaces: Sequence[OwnNetns], config: object) -> Iterator[Complaint]:
    """Yield what is wrong with namespaces that should replace others in a config.

    Args:
        namespaces: those of a scenario.
        config: the bootstrap after all overlays.
    """
    in_place = [(index, one) for index, one in enumerate(namespaces) if one.file is not None]
    named = namespaces_named(config) if in_place else {}
    for index, one in in_place:
        if one.file not in named:
            yield Complaint(
                ("envoy", "netns", index, "file"),
                f"the config names no network namespace `{one.file}`",
                f"it names: {', '.join(named) or 'none'}",
                at_value=True,
            )


def with_own_namespaces(config: Any, names: Mapping[str, str]) -> Any:
    """Return a config that enters namespaces of the run instead of others.

    Args:
        config: a bootstrap, or a part of one.
        names: the name of the run's own by the file that the config has.
    """
    if not names:
        return config
    if isinstance(config, list):
        return [with_own_namespaces(element, names) for element in config]
    if not isinstance(config, dict):
        return config
    return {
        key: MADE + names[member]
        if proto_name(str(key)) == _FIELD and isinstance(member, str) and member in names
        else with_own_namespaces(member, names)
        for key, member in config.items()
    }


def own_names(config: object) -> dict[str, str]:
    """Return names for namespaces of a run that take the place of those that a config names.

    Args:
        config: a bootstrap, or a part of one.

    Returns:
        The name by the file.
    """
    names: dict[str, str] = {}
    for file in namespaces_named(config):
        names[file] = _own_name(file, names.values())
    return names


def _own_name(file: str, taken: Collection[str]) -> str:
    if file.startswith(MADE) and (own := file.removeprefix(MADE)) not in taken:
        return own
    words = re.sub("[^a-z0-9]+", "_", file.lower()).strip("_")
    plain = re.sub("^(var_)?run_(netns_)?", "", words) or words
    plain = plain if plain[:1].isalpha() else f"netns_{plain}".rstrip("_")
    number, name = 1, plain
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    return name
