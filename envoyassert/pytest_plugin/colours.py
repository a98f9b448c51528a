"""Failures in colour, on pytest's terminal alone: what is written to files has none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from envoyassert.judge.verdict import Status
from envoyassert.report.colour import coloured

_OURS = tuple(f"{status.value}{sign}" for status in Status for sign in (" ", ":", "\n"))


@contextlib.contextmanager
def in_colour(reporter: pytest.TerminalReporter) -> Iterator[None]:
    """Have the texts of failures that are ours in colour inside a `with` statement.

    Args:
        reporter: pytest's terminal, which has colours.
    """
    changed: list[tuple[Any, list[str]]] = []
    for report in (*reporter.stats.get("failed", ()), *reporter.stats.get("error", ())):
        traceback = getattr(report.longrepr, "reprtraceback", None)
        for entry in getattr(traceback, "reprentries", ()):
            if entry.lines and str(entry.lines[0]).startswith(_OURS):
                changed.append((entry, entry.lines))
                text = "".join(entry.lines)
                entry.lines = ["\n".join(coloured(text.split("\n")))]
    try:
        yield
    finally:
        for entry, lines in changed:
            entry.lines = lines
