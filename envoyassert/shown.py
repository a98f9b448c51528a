r"""Text that others write, shown as text: on a terminal, in a log of CI, on a page, in a comment.

Names, reasons, paths and logs come from configs, scenarios, images and Envoy. What a terminal acts
on, what turns the direction of text or cannot be seen, and what a CI system takes for a command is
written as an escape, `\x1b` or `\u202e`, in the form that double quotes of YAML have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# Patterns as text: few sessions need them, and compiling them takes as long as all else here.
#: Letters and marks without an image; `str.isprintable` knows controls, formats and blanks.
_UNSEEN = "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0]"
# GitHub Actions takes `::error::` at the beginning of a line for a command, and `##[error]` at any
# place; Azure Pipelines `##vso[`, TeamCity `##teamcity[`. GitLab's begin with an escape.
_COMMAND = r"^\s*(:)(?=:)|(#)(?=#\w*\[)"


def shown(text: str) -> str:
    """Return a text as one line of nothing but what can be seen; line breaks are escapes too.

    Args:
        text: any; what was returned before comes back as it is.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escape(char) for char in text)
    if not text.isascii():
        text = re.sub(_UNSEEN, lambda found: _escape(found[0]), text)
    if "::" in text or "##" in text:
        text = re.sub(_COMMAND, lambda found: found[0][:-1] + _escape(found[0][-1]), text)
    return text


def shown_lines(text: str) -> str:
    """Return a text of several lines, of which each is shown by itself."""
    return joined(text.split("\n"))


def joined(lines: Iterable[str]) -> str:
    """Return lines as one text, without a line feed at its end; none has a further one within."""
    return "\n".join(shown(line) for line in lines)


def json_text(data: object, indent: int | None = 2) -> str:
    """Return data as JSON that reads as the same, and shows nothing raw."""
    text = json.dumps(data, indent=indent).replace("\x7f", "\\u007f")
    return re.sub(r"#(?=#\w*\[)", r"\\u0023", text)


def _escape(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
