"""Trace files on disk: read whole, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from envoyassert.errors import TraceFileError
from envoyassert.input_file import UnfitFileError, read_file
from envoyassert.output_file import write_lines
from envoyassert.trace import Trace
from envoyassert.trace_lines import parse_trace, trace_lines

#: A trace has about 250 bytes for each event, and a run some hundreds of these.
MAX_BYTES = 256 << 20


def read_trace(path: str | Path) -> Trace:
    """Read a trace file.

    Raises:
        TraceFileError: it cannot be read, or is no complete trace file.
    """
    return parse_trace(read_lines(path), str(path))


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        TraceFileError: it cannot be read, is no regular file, is far too large, or is not UTF-8
            text.
    """
    try:
        return read_file(Path(path), MAX_BYTES).decode("utf-8").splitlines()
    except UnfitFileError as error:
        raise TraceFileError(f"{path}: error: {error}") from error
    except OSError as error:
        raise TraceFileError(f"{path}: error: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TraceFileError(
            f"{path}: error: not a text file: byte {error.start} is not UTF-8",
            "pass a file written by `envoyassert record` or `envoyassert import`",
        ) from error


def write_trace(trace: Trace, path: str | Path, *, below: Path | None = None) -> None:
    """Write a trace file, replacing what is there; see `write_lines`.

    Raises:
        MachineError: it cannot be written; then nothing is left of it.
    """
    write_lines(trace_lines(trace), path, below=below)
