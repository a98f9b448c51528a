"""Commands that are called inside this process, and what each must keep to."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from envoyassert.cli import exits, main
from envoyassert.errors import FAULT
from tests.odd_text import raw_in

#: A problem is for people: it fits on a screen.
_LONGEST_LINE = 4_000
_MOST_LINES = 200


class Done(NamedTuple):
    """What a command did: exit code, data, talk."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> Done:
    """Run a command; what it prints goes through UTF-8, as to a terminal."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main(arguments)
        except SystemExit as done:
            code = done.code
        finally:
            for stream in streams:
                stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return Done(code if isinstance(code, int) else exits.INTERNAL, out, err)


def refusal_problem(text: str, place: re.Pattern[str]) -> str:
    """Return what is wrong with a refusal, which must begin with a place, "" if nothing is."""
    if not place.match(text):
        return f"refused without a place: {text[:400]}"
    if max(map(len, text.split("\n"))) > _LONGEST_LINE:
        return f"refused in {len(text)} characters"
    return f"raw text is shown: {raw[:5]}" if (raw := raw_in(text)) else ""


def broken(done: Done, files: Iterable[Path]) -> str:
    """Return in words which rule a command broke that reads files, "" if none.

    A file is used, or refused by exit code 4 and a problem with its place.

    Args:
        done: what the command did.
        files: of which each may be the one that is at fault.
    """
    text = done.out + done.err
    if "Traceback" in text or "internal error" in text or FAULT in text:
        return f"an internal error: {done.err[-1000:]}"
    if done.code not in (exits.PASSED, exits.USAGE):
        return f"exit code {done.code}: {text[:400]}"
    if raw := raw_in(text):
        return f"raw text is shown: {raw[:5]}"
    if done.code == exits.PASSED:
        return ""
    lines = text.splitlines()
    if len(lines) > _MOST_LINES or max(map(len, lines), default=0) > _LONGEST_LINE:
        return f"{len(lines)} lines of up to {max(map(len, lines))} characters"
    places = "|".join(re.escape(str(file)) for file in files)
    if not any(re.match(rf"({places}):\d+:\d+: error: \S", line) for line in lines):
        return f"refused without a place: {text[:600]}"
    return ""
