"""What unit and end-to-end tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dealt import dealt

# xdist gives it to its workers; pages have the width of a terminal, else their own.
os.environ.pop("COLUMNS", None)


#: As in pyproject.toml: what may take so long, or is marked slow, is begun first.
LONG_S = 120


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the tests out to the workers of xdist, which take what is next to each other."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = dealt(items, [seconds_of(item) for item in items], workers)


def seconds_of(item: pytest.Item) -> float:
    """Return how long a test may take, as far as its marks say so; 0 if none does."""
    timeout = item.get_closest_marker("timeout")
    seconds = timeout.args[0] if timeout else LONG_S * bool(item.get_closest_marker("slow"))
    return float(seconds) if seconds >= LONG_S else 0.0


@pytest.fixture
def marker() -> Iterator[Path]:
    """A file that is not there, where every user may make it."""
    with tempfile.TemporaryDirectory(prefix="ea-marker-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory) / "marker"
