"""What is particular about a case: the fields of its listeners, beside those that any has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.explore.case import Case, Listener
from envoyassert.predict.held import taken
from envoyassert.predict.prediction import PredictError
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import predict_start

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
    pushed = [step.listeners for step in case.steps if step.listeners is not None]
    states = [_sets(case, listeners) for listeners in (case.listeners, *pushed)]
    if any(map(_conflict, states)):
        found["addresses_in_conflict"] = frozenset({_ANY})
    return found


def _sets(case: Case, listeners: Sequence[Listener]) -> Sequence[SocketSet]:
    """Return the sockets of a start with listeners, as the model says."""
    try:
        found = predict_start(case.bootstrap, concurrency=case.concurrency, discovered=listeners)
    except PredictError:
        return ()
    return found.sets


def _conflict(sets: Sequence[SocketSet]) -> bool:
    """Whether the kernel refuses an address a socket beside those of another one."""
    # What is given up has tried to have its sockets.
    tried = [replace(one, descriptors=1) for one in sets]
    return any(
        any(
            taken(
                [one],
                [
                    other
                    for other in tried
                    if (other.name, other.address) != (one.name, one.address)
                ],
            )
        )
        for one in tried
    )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, member in value.items():
            yield from _leaves(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for element in value:
            yield from _leaves(element, f"{path}.*")
    else:
        yield path, _ANY if value == {} else value if not isinstance(value, list) else "empty"
