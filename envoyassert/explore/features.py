"""What is particular about a case: the fields of its listeners, beside those that any has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envoyassert.explore.case import Case

#: Values of each field of a listener; `*` stands for an element of a list.
Fields = Mapping[str, frozenset[Any]]

#: Fields of which no socket knows anything, or that each listener has.
_ASIDE = ("name", "filter_chains", "listener_filters", "stat_prefix")
#: Values of the simplest listener there is.
_PLAIN = {"address.socket_address.address": "127.0.0.1"}
#: Of a number it does not matter which it is, but for 0.
_ANY = "any"


def fields_of(listener: Mapping[str, Any]) -> Fields:
    """Return what is particular about a listener.

    Args:
        listener: its config, by proto names.
    """
    found: dict[str, set[Any]] = {}
    for path, value in _leaves(listener, ""):
        if path.partition(".")[0] in _ASIDE or _PLAIN.get(path) == value:
            continue
        number = isinstance(value, int) and not isinstance(value, bool)
        if path.endswith("port_value") and value:
            continue
        coarse = _ANY if number and value and not _names_a_thing(path) else value
        if path.endswith(".path"):
            coarse = "@" if str(value).startswith("@") else "/"
        found.setdefault(path, set()).add(coarse)
    return {path: frozenset(values) for path, values in found.items()}


def _names_a_thing(path: str) -> bool:
    """Whether a number of a field says which thing is meant."""
    return path.startswith("socket_options") or ".socket_options" in path


def changed_fields(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> frozenset[str]:
    """Return which fields of a listener a push changed; none of one that is new.

    Args:
        before: what the listener was; None for one that is new.
        after: what it is.
    """
    if before is None:
        return frozenset()
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    return frozenset(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def of_envoy(case: Case) -> Fields:
    """Return what is particular about a case beside its listeners."""
    rest = {
        key: value
        for key, value in case.bootstrap.items()
        if key not in ("static_resources", "bootstrap_extensions")
    }
    found = dict(fields_of(rest))
    if case.concurrency > 1:
        found["concurrency"] = frozenset({_ANY})
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            yield from _leaves(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for element in value:
            yield from _leaves(element, f"{path}.*")
    else:
        yield path, _ANY if value == {} else value if not isinstance(value, list) else "empty"
