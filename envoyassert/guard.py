"""Advice is computed apart from the verdict: a fault in it is a line, and costs nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

#: By which a fault of ours is known in any text.
FAULT = "a fault of envoyassert"


def guarded(compute: Callable[[], Result], instead: Callable[[str], Result]) -> Result:
    """Return what a function computes, or what takes its place if it raises.

    For hints, remedies, pictures, summaries and annotations, and for a single expectation, which
    becomes INCONCLUSIVE. What pytest raises to end a test goes through: it is no `Exception`.

    Args:
        compute: the function.
        instead: returns the replacement, from one line that says what the fault is.
    """
    try:
        return compute()
    except Exception as error:  # noqa: BLE001 - whatever it is, the verdict matters more
        return instead(fault_words(error))


def fault_words(error: Exception) -> str:
    """Return one line about an exception that nothing in envoyassert may raise, with its place."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return f"not computed: {words}{place} ({FAULT}; please report it with the trace)"
