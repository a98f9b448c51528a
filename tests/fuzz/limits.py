"""What reading one input, and a whole campaign, may take."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

MOST_S = 5.0
MOST_KB = 500 * 1024


def timed(check: Callable[[], str]) -> str:
    """Return what a check found wrong; if that is nothing, whether it took too long."""
    begun = time.perf_counter()
    problem = check()
    took_s = time.perf_counter() - begun
    return problem or (f"took {took_s:.1f} s" if took_s > MOST_S else "")


def memory_problems() -> list[str]:
    """Return in words that this process needed too much memory, if it did."""
    used_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [f"{used_kb} KB of memory"] if used_kb > MOST_KB else []
