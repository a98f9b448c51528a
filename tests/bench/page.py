"""The page that keeps the results, docs/performance.md: its generated parts lie between markers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class PageError(Exception):
    """The page has no place for the part."""


def with_part(text: str, name: str, lines: Iterable[str]) -> str:
    """Return a page with a part of it replaced.

    Args:
        text: the page.
        name: of the part, which lies between `<!-- NAME -->` and `<!-- end of NAME -->`.
        lines: the part.

    Raises:
        PageError: the markers are not there, each once and in this order.
    """
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = text.partition(first)
    _, ended, after = rest.partition(last)
    if not found or not ended or first in rest or last in after:
        raise PageError(f"the page must have {first.strip()} and {last.strip()}, each once")
    return f"{before}{first}\n{''.join(f'{line}{chr(10)}' for line in lines)}\n{last}{after}"


def write_part(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace a part of a page in its file.

    Raises:
        PageError: the file cannot be read, or has no place for the part.
    """
    try:
        page.write_text(with_part(page.read_text("utf-8"), name, lines), "utf-8")
    except OSError as error:
        raise PageError(f"{page}: {error.strerror}") from error
    except PageError as error:
        raise PageError(f"{page}: {error}") from error
