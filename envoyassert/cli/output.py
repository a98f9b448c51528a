"""Standard output and error that outlast their reader, so that the exit code is the verdict's.

`envoyassert run X | head` closes the pipe long before the verdict. Work goes on, and what is still
printed goes nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import click

from envoyassert.errors import MachineError
from envoyassert.shown import joined, json_text

#: Below this a table has no form any more, and a terminal may break its lines.
_LEAST_WIDTH = 40


class _Lasting(io.FileIO):
    """A descriptor that takes whatever is written; what its reader no longer takes is dropped.

    Its attribute `fault` is why something was lost that there is a reader for, or None.
    """

    fault: OSError | None = None

    def write(self, data: bytes, /) -> int | None:  # type: ignore[override]  # any buffer of bytes
        """Write bytes, and return how many were taken."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EPIPE and self.fault is None:
                self.fault = error
            # The descriptor itself, for whoever else writes to it.
            _to_nowhere(self.fileno())
            return len(data)


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Let standard output and error outlast their readers inside a `with` statement."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _lasting(before[0], 1), _lasting(before[1], 2)
    try:
        yield
    finally:
        _flush()
        sys.stdout, sys.stderr = before


def say(*lines: str, err: bool = False) -> None:
    """Print lines, in which what others wrote is shown as text.

    Args:
        lines: without line ends.
        err: whether they go to the standard error.
    """
    click.echo(joined(lines), err=err)


def say_report(*lines: str) -> None:
    """Print lines for people on the standard output, in colour if it is a terminal that has some.

    Args:
        lines: without line ends; what others wrote in them is shown as text.
    """
    from envoyassert.report.colour import coloured, wants_colour

    clean = joined(lines)
    colours = wants_colour(os.environ, is_terminal=sys.stdout.isatty())
    text = "\n".join(coloured(clean.split("\n"))) if colours else clean
    click.echo(text, color=colours)


def page_width() -> int:
    """Return how many columns a line may have: those of the terminal, elsewhere those of a page.

    `COLUMNS` of the environment counts before either.
    """
    from envoyassert.report.table import WIDTH

    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdecimal() and int(asked) > 0:
        return max(int(asked), _LEAST_WIDTH)
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH, _LEAST_WIDTH)
    except OSError:
        return WIDTH


def say_json(data: Any) -> None:
    """Print data as JSON."""
    click.echo(json_text(data))


def say_fault(error: Exception) -> None:
    """Print that an error is a fault of our own, with its traceback under ENVOYASSERT_DEBUG=1."""
    if os.environ.get("ENVOYASSERT_DEBUG"):
        import traceback

        traceback.print_exception(error)
    say(
        f"envoyassert: internal error: {type(error).__name__}: {error}",
        "  remedy: this is a fault of envoyassert; report it with the output of the same "
        "command under ENVOYASSERT_DEBUG=1",
        err=True,
    )


def say_usage(error: click.ClickException) -> None:
    """Print what was wrong with the arguments, as click does."""
    text = io.StringIO()
    error.show(text)
    say(*text.getvalue().rstrip("\n").split("\n"), err=True)


def check_written() -> None:
    """Make sure that what was printed has arrived, or has no reader.

    Raises:
        MachineError: it has not: the disk is full, say, or the stream was closed from the start.
    """
    _flush()
    for stream, name in ((sys.stdout, "output"), (sys.stderr, "error")):
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if not isinstance(raw, _Lasting) or raw.fault is None:
            continue
        fault, raw.fault = raw.fault, None  # it is reported once
        if fault.errno == errno.EBADF:
            raise MachineError(
                f"the standard {name} is closed",
                "send it to a file, or to /dev/null",
            )
        raise MachineError(
            f"the standard {name} cannot be written: {fault.strerror}",
            "free some space, or send it elsewhere",
        )


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a stream that outlasts its reader, in place of one that may be closed (None)."""
    if stream is None:
        # Its number is taken, so that no file gets it; what is written to it fails as before.
        _to_nowhere(descriptor, os.O_RDONLY)
        stream = open(descriptor, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it lasts
    try:
        descriptor = stream.fileno()
    except OSError:
        return stream  # in memory: it has no reader that could go
    stream.flush()
    raw = _Lasting(descriptor, "wb", closefd=False)
    unbuffered = bool(getattr(stream, "write_through", False))
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),  # type: ignore[type-var]  # see its write()
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=unbuffered,
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _to_nowhere(descriptor: int, mode: int = os.O_WRONLY) -> None:
    null = os.open(os.devnull, mode)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)
