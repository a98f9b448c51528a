"""What unit and end-to-end tests share."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dealt import dealt

# xdist gives it to its workers; pages have the width of a terminal, else their own.
os.environ.pop("COLUMNS", None)


# Eleven thousand tests are half a million objects, of which none is garbage. To look at all of them
# again and again took a fifth of the time of the tests.
gc.set_threshold(50_000)


#: What a slow test may take whose marks say no other time; as in pyproject.toml.
LONG_S = 120.0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the tests out to the workers of xdist, which take what is next to each other."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = dealt(items, [seconds_of(item) for item in items], workers)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was collected out of all looks for garbage: it stays."""
    gc.collect()
    gc.freeze()


def seconds_of(item: pytest.Item) -> float:
    """Return how long a test that is marked slow may take; 0 for the others."""
    timeout = item.get_closest_marker("timeout")
    if item.get_closest_marker("slow") is None:
        return 0.0
    return LONG_S if timeout is None else float(timeout.args[0])


@pytest.fixture
def marker() -> Iterator[Path]:
    """A file that is not there, where every user may make it."""
    with tempfile.TemporaryDirectory(prefix="ea-marker-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory) / "marker"
