"""How times are spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(what: str, times_s: Sequence[float]) -> str:
    """Return minimum, median, the 90th and 99th of a hundred, and maximum, in a line."""
    if not times_s:
        return f"{what}: no times"
    values = sorted(times_s)
    hundredths = (
        statistics.quantiles(values, n=100, method="inclusive") if values[1:] else values * 99
    )
    parts = {
        "min": values[0],
        "median": statistics.median(values),
        "p90": hundredths[89],
        "p99": hundredths[98],
        "max": values[-1],
    }
    text = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
    return f"{what}: {text} s ({len(values)} times)"
