"""Changes to a bootstrap config, as data.

An overlay is merged into the config: mappings merge, any other value replaces what was there, null
removes. In place of a list, a mapping names its elements: by index (from 0), by the element's
`name`, or `*` for all of them. What is changed is copied; everything else is shared with the
config, which stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from envoyassert.scenario.vocabulary import did_you_mean

Path = tuple[str | int, ...]


class OverlayError(ValueError):
    """An overlay that does not fit the config.

    Args:
        path: where in the overlay.
        message: what does not fit.
        remedy: what to write instead, or "".
    """

    def __init__(self, path: Path, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.message = message
        self.remedy = remedy


def merge(config: Any, overlay: Any) -> Any:
    """Return the config with an overlay merged into it.

    Args:
        config: mappings, lists and plain values.
        overlay: what to change.

    Raises:
        OverlayError: it names an element that is not there, or removes what is not there.
    """
    return _merge(config, overlay, (), strict=True)


def overlay_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overlay that makes one config of another.

    Args:
        old: what it is merged into.
        new: what comes out of that.
    """
    overlay: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        known = old.get(key)
        if key in old and known == value:
            continue
        if isinstance(known, dict) and isinstance(value, dict):
            overlay[key] = overlay_between(known, value)
        else:
            overlay[key] = value
    return overlay


def set_at(config: Any, parts: tuple[str, ...], value: Any) -> Any:
    """Return the config with one value set.

    Args:
        config: mappings, lists and plain values.
        parts: keys from the top; a list's elements by index, `name` or `*`.
        value: the new value.

    Raises:
        OverlayError: the path leads through what is not there; its path ends at that part.
    """
    return _set(config, parts, 0, value)


def _merge(config: object, overlay: object, path: Path, *, strict: bool) -> object:
    if not isinstance(overlay, dict):
        return overlay
    if isinstance(config, list):
        return _merge_elements(config, overlay, path)
    merged = dict(config) if isinstance(config, dict) else {}
    for key, value in overlay.items():
        here = (*path, key)
        if value is None:
            if key in merged:
                del merged[key]
            elif strict:
                raise OverlayError(here, f"there is no `{key}` to remove", _keys(key, merged))
        elif key in merged:
            merged[key] = _merge(merged[key], value, here, strict=strict)
        else:
            if isinstance(value, dict) and value and all(_names_element(k) for k in value):
                raise OverlayError(here, f"there is no list `{key}`", _keys(key, merged))
            merged[key] = _without_nulls(value)
    return merged


def _merge_elements(elements: list[object], overlay: dict[str, object], path: Path) -> list[object]:
    merged = list(elements)
    removed: set[int] = set()
    for key, value in overlay.items():
        here = (*path, key)
        for index in _indexes(elements, key, here):
            if value is None:
                removed.add(index)
            else:
                # Elements that differ may lack a key that `*` removes from those that have it.
                merged[index] = _merge(merged[index], value, here, strict=key != "*")
    return [element for index, element in enumerate(merged) if index not in removed]


def _indexes(elements: list[object], key: str, path: Path) -> list[int]:
    """Return the indexes of the elements that a key names."""
    if key == "*":
        return list(range(len(elements)))
    if key.isdecimal():
        if int(key) < len(elements):
            return [int(key)]
        count = len(elements)
        raise OverlayError(
            path,
            f"there is no element {key}; the list has {count}",
            f"the last one is {count - 1}" if count else "",
        )
    named = [_name(element) for element in elements]
    found = [index for index, name in enumerate(named) if name == key]
    if len(found) == 1:
        return found
    if found:
        places = " and ".join(map(str, found))
        raise OverlayError(path, f"several elements are named `{key}`", f"write an index: {places}")
    names = [name for name in named if name]
    raise OverlayError(
        path,
        f"no element of the list is named `{key}`",
        did_you_mean(key, names)
        or (f"their names: {', '.join(names)}" if names else "write an index, or * for all"),
    )


def _name(element: object) -> str:
    name = element.get("name") if isinstance(element, dict) else None
    return name if isinstance(name, str) else ""


def _set(config: Any, parts: tuple[str, ...], depth: int, value: Any) -> Any:
    if depth == len(parts):
        return value
    key = parts[depth]
    here = parts[: depth + 1]
    if isinstance(config, list):
        changed: Any = list(config)
        for index in _indexes(config, key, here):
            changed[index] = _set(config[index], parts, depth + 1, value)
        return changed
    if not isinstance(config, dict):
        raise OverlayError(here, f"`{'.'.join(parts[:depth])}` has no members")
    if key not in config and depth + 1 < len(parts):
        raise OverlayError(here, f"the config has no `{'.'.join(here)}`", _keys(key, config))
    changed = dict(config)
    changed[key] = _set(config.get(key), parts, depth + 1, value)
    return changed


def _names_element(key: str) -> bool:
    return key == "*" or key.isdecimal()


def _keys(key: str, there: dict[str, object]) -> str:
    return did_you_mean(key, there) or (f"there are: {', '.join(there)}" if there else "")


def _without_nulls(value: object) -> object:
    """Return a value that is new to the config: nulls in its mappings have nothing to remove."""
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(member) for key, member in value.items() if member is not None}


def map_text(value: Any, change: Callable[[str], Any]) -> Any:
    """Return data with `change` applied to all text in it, keys left as they are.

    Parts in which nothing changes are shared with the original.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        members = {key: map_text(member, change) for key, member in value.items()}
        return members if any(members[key] is not value[key] for key in value) else value
    if isinstance(value, list):
        elements = [map_text(element, change) for element in value]
        same = all(new is old for new, old in zip(elements, value, strict=True))
        return value if same else elements
    return value
