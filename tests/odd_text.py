"""A text with everything that must not reach a terminal, a CI system, a page or YAML as it is."""

from __future__ import annotations

import re

#: Controls (an escape sequence, C1, DEL, line breaks of all kinds), bidi, what cannot be seen.
RAW = (
    *("\x1b", "\x07", "\x00", "\x7f", "\x85", "\x9b", "\r", "\t", "\x0b", "\x0c", "\x1c"),
    *("\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\u061c", "\u200b", "\u200d", "\ufeff"),
    *("\u2060", "\u00ad", "\u3164", "\U000e0041"),
)
ODD = "odd\x1b[31m\n::error::one\r\n##[error]two\n" + "".join(RAW) + "##vso[x]end"
_COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)


def raw_in(text: str) -> list[str]:
    """Return what of a text is raw: characters, and lines that a CI system takes for commands."""
    found = [repr(char) for char in RAW if char in text]
    return found + [repr(line) for line in text.split("\n") if _COMMAND.search(line)]
