"""Files that a user or a scenario names: whole, of a bounded size, and regular ones only."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from envoyassert.input_file import UnfitFileError, read_file, read_start

_MIB = 2**20


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 100_000, _MIB])
def test_file_is_read_to_its_end_if_it_is_not_too_large(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_file(path, _MIB) == content
    assert read_start(path, 4097) == content[:4097]


def test_larger_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(_MIB + 1))
    with pytest.raises(UnfitFileError, match="the file is larger than 1 MiB"):
        read_file(path, _MIB)


@pytest.mark.skipif(platform.system() != "Linux", reason="/proc is Linux's")
def test_file_that_says_it_is_empty_is_read_to_its_end() -> None:
    path = Path("/proc/kallsyms")
    assert path.stat().st_size == 0
    assert len(read_start(path, 20_000)) == 20_000


def test_what_may_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnfitFileError, match="not a regular file"):
        read_start(tmp_path / "pipe", 1)
