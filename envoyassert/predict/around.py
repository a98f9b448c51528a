"""What differs between two Envoys outside of their listeners, and by which way it is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envoyassert.predict.effects import Kind, OtherChange, Side, Topic, Way
from envoyassert.predict.fields import normal

_TOPICS = {
    "admin": Topic.ADMIN,
    "dynamic_resources": Topic.DISCOVERY,
    "layered_runtime": Topic.RUNTIME,
    "overload_manager": Topic.OVERLOAD_MANAGER,
}
#: By these the next epoch finds the one before. If it does not, it aborts (seen on 1.36.4 and
#: 1.40.0); the one before serves on.
_NAMES = ("--socket-path", "--base-id", "--use-dynamic-base-id", "--disable-hot-restart")
#: Arguments without a value.
_FLAGS = frozenset({"--use-dynamic-base-id", "--disable-hot-restart"})


def other_changes(old: Side, new: Side, way: Way) -> Iterator[OtherChange]:
    """Yield what differs outside of listeners.

    Args:
        old: the Envoy before.
        new: the one afterwards.
        way: how the change reaches it; a bootstrap and arguments are read at a start alone.
    """
    starts = way is not Way.PUSH
    if old.workers != new.workers:
        yield OtherChange(Topic.WORKERS, "--concurrency", old.workers, new.workers, starts)
    arguments = [_arguments(side.arguments) for side in (old, new)]
    for name in dict.fromkeys((*arguments[0], *arguments[1])):
        before, after = (given.get(name) for given in arguments)
        if before != after:
            yield _argument(name, before, after, way)
    configs = [normal(side.config) for side in (old, new)]
    for path, before, after in _differences(*configs):
        topic = _TOPICS.get(path.partition(".")[0], Topic.OTHER)
        # Others may hold secrets; that they differ is all that is said.
        shown = topic in (Topic.ADMIN, Topic.RUNTIME)
        values = (before, after) if shown else (_outline(before), _outline(after))
        yield OtherChange(topic, path, *values, starts)


def _argument(name: str, before: Any, after: Any, way: Way) -> OtherChange:
    if name not in _NAMES:
        return OtherChange(Topic.ARGUMENTS, name, before, after, way is not Way.PUSH)
    if way is Way.HOT_RESTART:
        return OtherChange(Topic.HOT_RESTART_NAME, name, before, after, False, Kind.REFUSED)
    return OtherChange(Topic.HOT_RESTART_NAME, name, before, after, way is Way.RESTART)


def _arguments(given: Sequence[str]) -> dict[str, Any]:
    """Return arguments by their names: a value, or true."""
    found: dict[str, Any] = {}
    left = list(given)
    while left:
        name, equals, value = left.pop(0).partition("=")
        takes_value = name not in _FLAGS and left and not left[0].startswith("--")
        found[name] = value if equals else left.pop(0) if takes_value else True
    return found


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield fields of two bootstraps that differ: of those that matter here, each of its own."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        yield path, old, new
        return
    for key in dict.fromkeys((*old, *new)):
        below = f"{path}.{key}" if path else key
        before, after = old.get(key), new.get(key)
        if before == after or below == "static_resources.listeners":
            continue
        deep = below.partition(".")[0] in ("admin", "static_resources", "overload_manager")
        if below == "layered_runtime":
            yield from _runtime(before, after)
        elif deep and all(one is None or isinstance(one, Mapping) for one in (before, after)):
            yield from _differences(before or {}, after or {}, below)
        else:
            yield below, before, after


def _runtime(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the values of static layers that differ; the last layer that has one decides."""
    values = [_static_values(one) for one in (old, new)]
    differs = False
    for key in dict.fromkeys((*values[0], *values[1])):
        before, after = (one.get(key) for one in values)
        if before != after:
            differs = True
            yield f"layered_runtime.{key}", before, after
    if not differs:
        yield "layered_runtime", _outline(old), _outline(new)


def _static_values(runtime: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for layer in (runtime or {}).get("layers") or []:
        static = layer.get("static_layer") if isinstance(layer, Mapping) else None
        found |= _flat(static or {}, "")
    return found


def _flat(values: Any, path: str) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {path: values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{path}.{key}" if path else str(key))
    return found


def _outline(value: Any) -> Any:
    """Return as much of a value as may be shown to anyone."""
    if isinstance(value, list):
        return {"count": len(value)}
    return {} if isinstance(value, Mapping) else value
