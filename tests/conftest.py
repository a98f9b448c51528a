"""What unit and end-to-end tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# xdist gives it to its workers; pages have the width of a terminal, else their own.
os.environ.pop("COLUMNS", None)


@pytest.fixture
def marker() -> Iterator[Path]:
    """A file that is not there, where every user may make it."""
    with tempfile.TemporaryDirectory(prefix="ea-marker-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory) / "marker"
