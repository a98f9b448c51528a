"""Trace files on disk: read whole, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from envoyassert.errors import MachineError, TraceFileError
from envoyassert.trace import Trace
from envoyassert.trace_lines import parse_trace, trace_lines


def read_trace(path: str | Path) -> Trace:
    """Read a trace file.

    Raises:
        TraceFileError: it cannot be read, or is no complete trace file.
    """
    return parse_trace(read_lines(path), str(path))


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        TraceFileError: it cannot be read, or is not UTF-8 text.
    """
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TraceFileError(f"{path}: error: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceFileError(
            f"{path}: error: not a text file: byte {error.start} is not UTF-8",
            "pass a file written by `envoyassert record` or `envoyassert import`",
        ) from error


def write_trace(trace: Trace, path: str | Path) -> None:
    """Write a trace file, replacing what is there.

    Raises:
        MachineError: it cannot be written; then nothing is left of it.
    """
    write_lines(trace_lines(trace), path)


def write_lines(lines: Iterable[str], path: str | Path) -> None:
    """Write lines into a file that appears complete or not at all, making its directory.

    Raises:
        MachineError: it cannot be written.
    """
    path = Path(path)
    # In the same directory, or the rename would be a copy; per process, as runs may be parallel.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{line}\n" for line in lines)
        unfinished.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise MachineError(
            f"{path} cannot be written: {error.strerror}",
            ("free some space, or " if full else "") + "name a file or directory elsewhere",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
