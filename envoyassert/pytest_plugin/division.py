"""Which part of the runs a session has, where pytest-split divides them between machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from envoyassert.input_file import UnfitFileError, read_file

#: A file of durations has some hundred bytes for each run.
_MOST_BYTES = 64 << 20
#: pytest-split adds up what it reads: thirty years are no duration, and no sum is infinite.
_MOST_S = 1e9
#: Under which name pytest-split registers what divides, if it is asked to.
_DIVIDES = "pytestsplitplugin"


def part_of(config: pytest.Config) -> tuple[int, int] | None:
    """Return which part a session has, and of how many: `(2, 3)`; None if it has all runs."""
    if not config.pluginmanager.hasplugin(_DIVIDES):
        return None
    return config.getoption("group"), config.getoption("splits")


def read_durations(path: Path) -> dict[str, float]:
    """Return seconds by pytest's name of each test, as pytest-split reads them.

    Args:
        path: `durations.json` of `merge`, or what `pytest --store-durations` wrote.

    Raises:
        UnfitFileError: it has none.
        OSError: it cannot be read.
    """
    content = read_file(path, _MOST_BYTES)
    try:
        seconds = json.loads(content.decode("utf-8"))
        if isinstance(seconds, list):  # as pytest-split once wrote them
            seconds = dict(seconds)
    except (ValueError, TypeError, RecursionError):
        seconds = None
    if not isinstance(seconds, dict) or not all(map(_is_duration, seconds.values())):
        raise UnfitFileError("it has no seconds by run; name durations.json of `merge`")
    return seconds


def _is_duration(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= _MOST_S  # type: ignore[operator]  # it is a number


def check_durations(config: pytest.Config) -> None:
    """Refuse a file of durations that pytest-split could not read, before it tries to.

    Raises:
        pytest.UsageError: the file is there, and none of durations.
    """
    _seconds(config)


def _seconds(config: pytest.Config) -> dict[str, float]:
    path = Path(config.getoption("durations_path"))
    try:
        return read_durations(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        why = error.strerror
    except UnfitFileError as error:
        why = str(error)
    raise pytest.UsageError(f"--durations-path: {path}: {why}")


def division_of(config: pytest.Config, items: Sequence[pytest.Item]) -> str:
    """Return a name of what is divided, and by what; parts of one division have the same.

    Args:
        config: pytest's.
        items: all tests, before any is left to another machine, in their order.

    Raises:
        pytest.UsageError: the file of durations is none.
    """
    seconds = _seconds(config)
    divided = [[item.nodeid, seconds.get(item.nodeid)] for item in items]
    how = [config.getoption("splitting_algorithm"), config.getoption("splits"), divided]
    return hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]
