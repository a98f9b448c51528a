"""Faults of YAML text that is no document at all, in words a writer can act on."""

from __future__ import annotations

import re

import yaml

from envoyassert.errors import Problem

#: Levels of nesting; Envoy's deepest configs have about 30.
MAX_DEPTH = 100
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
#: Values of one document, every alias counted with all that it stands for.
MAX_NODES = 200_000

# What YAML 1.2 calls non-printable (production 1), other than the byte order mark at the start.
# Compiled when it is needed: that takes as long as to read ten scenarios, which are ASCII mostly.
_NOT_PRINTABLE = r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"

# An address of IPv6 that is not quoted.
_ADDRESS = re.compile(r"(?:^|[\s\[,])((?=[^\s,\]}]*::)[0-9A-Fa-f:.]+)(?=[\s,}\]]|$)")


def control_character(text: str, path: str) -> Problem | None:
    """Return a problem at the first character that YAML text cannot hold, or None."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return None
    found = re.search(_NOT_PRINTABLE, text)
    if found is None:
        return None
    line, column = line_and_column(text, found.start())
    return Problem(
        path,
        line,
        column,
        f"the character U+{ord(found[0]):04X} cannot be part of YAML text",
        "remove it, or write it as an escape in double quotes",
    )


def line_and_column(text: str, index: int) -> tuple[int, int]:
    """Return the 1-based line and column of an index into a text."""
    before = text[:index]
    return before.count("\n") + 1, index - before.rfind("\n")


def syntax_problem(error: yaml.YAMLError, text: str, path: str) -> Problem:
    """Return the problem that a YAML reader's error stands for."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem(path, 1, 1, f"not YAML: {error}")
    mark = error.problem_mark
    begin = error.context_mark
    ended = str(error.problem) in (
        "found unexpected end of stream",
        "found unexpected document indicator",
    )
    if "quoted scalar" in str(error.context) and ended and begin is not None:
        return Problem(path, begin.line + 1, begin.column + 1, "this quote is not closed")
    line, column = mark.line + 1, mark.column + 1
    lines = text.splitlines()
    written = lines[mark.line] if mark.line < len(lines) else ""
    message, remedy = _in_words(str(error.problem), written, mark.column)
    if error.context_mark is not None and error.context_mark.line != mark.line:
        message += f"; it belongs to what begins on line {error.context_mark.line + 1}"
    return Problem(path, line, column, message, remedy)


def _in_words(problem: str, written: str, index: int) -> tuple[str, str]:
    at = written[index : index + 1]
    # libyaml's own limit, since 0.2.6: its scanner runs ahead of the events that are counted here.
    if "maximum nesting depth" in problem:
        return TOO_DEEP, ""
    if at == "\t" or (not at and "\t" in written):
        return "a tab cannot indent YAML", "use spaces"
    address = _ADDRESS.search(written[: index + 1] + written[index + 1 :].partition(",")[0])
    if address is not None:
        return f"the address {address[1]} must be quoted: YAML reads its colons", f'"{address[1]}"'
    if at in ("@", "`", "%") and "cannot start any token" in problem:
        return f"text cannot begin with `{at}` unless it is quoted", "quote it"
    if "${" in written[: index + 1] and ("',' or '" in problem or "expected key" in problem):
        return "text with ${…} inside { } or [ ] must be quoted", 'write "${…}"'
    if "mapping values are not allowed" in problem:
        return (
            "a `:` where no key can be",
            "check the indentation of this line and the one above, or quote text that holds `: `",
        )
    if "',' or ']'" in problem or "',' or '}'" in problem:
        return "a `,` or the closing bracket is missing before this", ""
    if "expected node content" in problem:
        return "a value or the closing bracket is missing before this", ""
    if "escape" in problem or "hexadecimal" in problem:
        return "this is no escape of double quotes", "use single quotes, or double the backslash"
    if "expected ':'" in problem:
        return "a `:` is missing after the key", "write `key: value`"
    if "block end" in problem or "expected key" in problem or "'-' indicator" in problem:
        return (
            "this does not continue what stands above it",
            "check the indentation and the brackets",
        )
    return f"not YAML: {problem}", ""
