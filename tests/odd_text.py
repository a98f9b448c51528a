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
#: What means something to a page, to Markdown, to Mermaid, to a shell or to a place for comments.
MARKUP = (
    "</script><script>window.ran=1</script><img src=x onerror=window.ran=1><!-- --> ]]> &amp; '\""
    " | `a` ``` **b** [c](javascript:window.ran=1) ![d](http://example.org/d.png) @you #1 <br>"
    ' "]; click l0 callback end %%{init}%% $$x$$ fa:fa-car #35; $(id) ; \\'
)
HOSTILE = ODD + MARKUP
_COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)


def raw_in(text: str) -> list[str]:
    """Return what of a text is raw: characters, and lines that a CI system takes for commands."""
    found = [repr(char) for char in RAW if char in text]
    return found + [repr(line) for line in text.split("\n") if _COMMAND.search(line)]
