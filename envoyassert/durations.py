"""Durations as people write them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def parse_duration(text: float | str) -> float:
    """Return a duration in seconds.

    Args:
        text: `5s`, `0.25s`, `100ms`, `2m`, or a number of seconds.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(text, (int, float)):
        if text < 0:
            raise ValueError("a duration is not negative")
        return float(text)
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration; write 5s, 0.25s or 100ms")
    return float(found[1]) * _SECONDS[found[2]]


def duration_in_words(ns: int) -> str:
    """Return a duration in the unit that suits it: `2 s`, `1.5 ms`, `-340 µs`, `12 ns`.

    Args:
        ns: nanoseconds.
    """
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if abs(ns) >= size:
            return f"{ns / size:.4g} {unit}"
    return f"{ns} ns"
