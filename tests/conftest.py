"""What unit and end-to-end tests share."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# xdist gives it to its workers; pages have the width of a terminal, else their own.
os.environ.pop("COLUMNS", None)


def pytest_collection_finish() -> None:
    """Spare the collector the thousands of tests, which stay to the end, and most of its rounds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture
def marker() -> Iterator[Path]:
    """A file that is not there, where every user may make it."""
    with tempfile.TemporaryDirectory(prefix="ea-marker-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory) / "marker"
