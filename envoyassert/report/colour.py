"""Colour for lines that are shown on a terminal; what they say is the same without it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

#: ECMA-48, "select graphic rendition".
_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN, _END = (
    f"\x1b[{number}m" for number in (1, 2, 31, 32, 33, 36, 0)
)
#: What is coloured within a line; of several that fit one place the first counts.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^(?:FAIL|ERROR|DIFFERENT)\b"), _BOLD + _RED),
    (re.compile(r"^PASS\b"), _BOLD + _GREEN),
    (re.compile(r"^(?:INCONCLUSIVE|KNOWN_DEFECT)\b"), _BOLD + _YELLOW),
    (re.compile(r"(?<== )-1 E[A-Z0-9]+\b"), _RED),
    # the certificate
    (re.compile(r"^  ok(?= )"), _GREEN),
    (re.compile(r"^  MISSING\b"), _BOLD + _RED),
    (re.compile(r"^  n/a\b"), _DIM),
    # the line of a scenario, and what points into it
    (re.compile(r"^> +\d+ \|.*"), _BOLD),
    (re.compile(r"^ +\| +\^$"), _RED),
    # a finding: what each of its lines is
    (
        re.compile(
            r"^  (?:cause|expected|seen|reason|skipped|closest|why|known as|hint|passes)(?=:? )"
        ),
        _CYAN,
    ),
    # a table of sockets, and its titles
    (re.compile(r"^  (?:Netid  State|time  +thread) .*"), _DIM),
    (re.compile(r"(?<=^  [a-z]_[a-z]{3}  )LISTEN\b|(?<=^  tcp    )LISTEN\b"), _GREEN),
    (re.compile(r"^  [a-z_]+ +CLOSED\b"), _DIM),
)
_PLACE = re.compile(r"^\S+:\d+:\d+$")


def wants_colour(environ: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether colour is asked for: by the environment, or by a terminal that has some.

    `NO_COLOR` (no-color.org) counts before `FORCE_COLOR` (force-color.org), as in pytest.

    Args:
        environ: the environment.
        is_terminal: whether what is printed goes to a terminal.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and environ.get("TERM", "dumb") != "dumb"


def coloured(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines in colour.

    Args:
        lines: without control characters (`envoyassert.shown`).
    """
    after_blank = True
    for line in lines:
        heads = after_blank and line[:1].strip() and (": " not in line or _PLACE.match(line))
        found = _BOLD + line + _END if heads and not _by_rules(line) else _by_rules(line) or line
        yield found
        after_blank = not line


def _by_rules(line: str) -> str:
    """Return a line with what the rules colour, "" if that is nothing."""
    spans: list[tuple[int, int, str]] = []
    for pattern, colour in _RULES:
        for match in pattern.finditer(line):
            if not any(begin < match.end() and match.start() < end for begin, end, _ in spans):
                spans.append((match.start(), match.end(), colour))
    done, at = "", 0
    for begin, end, colour in sorted(spans):
        done += line[at:begin] + colour + line[begin:end] + _END
        at = end
    return done + line[at:] if spans else ""
