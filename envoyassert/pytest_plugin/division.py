"""Which part of the runs a session has, where pytest-split divides them between machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

#: Under which name pytest-split registers what divides, if it is asked to.
_DIVIDES = "pytestsplitplugin"


def part_of(config: pytest.Config) -> tuple[int, int] | None:
    """Return which part a session has, and of how many: `(2, 3)`; None if it has all runs."""
    if not config.pluginmanager.hasplugin(_DIVIDES):
        return None
    return config.getoption("group"), config.getoption("splits")


def division_of(config: pytest.Config, items: Sequence[pytest.Item]) -> str:
    """Return a name of what is divided, and by what; parts of one division have the same.

    Args:
        config: pytest's.
        items: all tests, before any is left to another machine, in their order.
    """
    try:
        durations = json.loads(Path(config.getoption("durations_path")).read_bytes())
    except (OSError, ValueError):
        durations = {}
    seconds = durations if isinstance(durations, dict) else dict(durations)
    divided = [[item.nodeid, seconds.get(item.nodeid)] for item in items]
    how = [config.getoption("splitting_algorithm"), config.getoption("splits"), divided]
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]
