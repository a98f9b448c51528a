"""Every file that is read because a user or a scenario names it: a regular one, of a bounded size.

What is no regular file may wait for who writes to it, never end, or do something as it is opened.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Larger files are no scenarios, and no configs that a person wrote.
MAX_SCENARIO = 4 * 1024 * 1024

_PAGE = 4096
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)


class UnfitFileError(Exception):
    """The file is no regular one, or too large; its text says which."""


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file.

    Args:
        path: the file; links are followed.
        most_bytes: how large it may be, in whole MiB.

    Raises:
        UnfitFileError: it is no regular file, or is larger.
        OSError: it cannot be read; a directory cannot.
        ValueError: its name has a NUL.
    """
    content = read_start(path, most_bytes + 1)
    if len(content) > most_bytes:
        raise UnfitFileError(f"the file is larger than {most_bytes >> 20} MiB")
    return content


def read_start(path: Path, most_bytes: int) -> bytes:
    """Return the first bytes of a file, all if it has no more.

    Args:
        path: the file; links are followed.
        most_bytes: how many.

    Raises:
        UnfitFileError: it is no regular file.
        OSError: it cannot be read; a directory cannot.
        ValueError: its name has a NUL.
    """
    _check(path.stat().st_mode)
    with open(path, "rb", buffering=0, opener=_opened) as file:
        status = os.fstat(file.fileno())
        _check(status.st_mode)  # it may have been replaced meanwhile
        # To ask for the most that a file may hold takes longer than to read a small one. It may
        # have more than it says: one of /proc says 0.
        parts, left = [], most_bytes
        while left and (part := file.read(min(left, status.st_size + _PAGE))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)


def _check(mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnfitFileError("this is not a regular file")
