"""What an axis of the matrix varies: by its name alone, by a path, or by overlays."""

from __future__ import annotations

from envoyassert.scenario.listeners import SCALAR_FIELDS

#: Which Envoy is run; a scenario names at most one of them.
SOURCES = ("version", "image", "binary")
#: Fields of `envoy` that may be axes.
ENVOY_AXES = (*SOURCES, "pull", "concurrency", "deadline")
#: The axes that are known by their names.
KNOWN_AXES = (*ENVOY_AXES, *SCALAR_FIELDS)


def is_axis(name: str, values: object) -> bool:
    """Return whether a matrix may have an axis.

    Args:
        name: its name, or a path into the config.
        values: a list of values, or overlays by value, which any name may have.
    """
    return isinstance(values, dict) or "." in name or name in KNOWN_AXES
