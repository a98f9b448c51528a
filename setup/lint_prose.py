"""Check the words and the sentences of the project against docs/style.md.

python setup/lint_prose.py

The words to avoid are the table in docs/style.md, which this reads; they are looked for in every
text file that git knows, across the breaks of lines and comments, and in the names of functions and
variables. The length of sentences is checked in the Markdown files. Spelling is codespell's, which
`make check` runs beside this.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

STYLE = Path("docs/style.md")
LONGEST_SENTENCE = 25

# Files of text that people wrote. Traces, logs, locks and snapshots have words of others.
SUFFIXES = frozenset(
    {".c", ".cc", ".h", ".html", ".jinja", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
)
NAMES = frozenset({"Makefile"})

# What may stand between two words of one phrase: a break of the line, of a comment or of a literal,
# or what separates the words of a name.
_GAP = r"""(?:[\s"'#*>|\\_]|//|\bf(?=["']))+"""
# A colon ends a sentence as a full stop does: what follows it can be read alone.
_END_OF_SENTENCE = re.compile(r"""(?<=[.!?:])["”)\]]*\s+""")
_WORD = re.compile(r"\S*\w\S*")


class Problem(NamedTuple):
    """What is wrong, and where: a path from the checkout, and a line from 1."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def house_words(style: str) -> dict[str, str]:
    """Read the table "Write | Not" of the style page.

    Args:
        style: The text of the page.

    Returns:
        What to write, by the word or phrase that is not written.

    Raises:
        ValueError: There is no such table.
    """
    rows = iter(_cells(line) for line in style.splitlines())
    if ["Write", "Not"] not in rows:
        raise ValueError('no table with the columns "Write" and "Not"')
    next(rows)
    return {
        avoided: row[0]
        for row in takewhile(lambda row: len(row) == 2, rows)
        for avoided in row[1].split(", ")
    }


def avoided_words(path: Path, text: str, words: dict[str, str]) -> Iterator[Problem]:
    """Find the words of the table in a text, in any case."""
    phrases = tuple(words)
    for found in _any_of(phrases).finditer(text):
        avoided = phrases[(found.lastindex or 1) - 1]
        line = text.count("\n", 0, found.start()) + 1
        yield Problem(path, line, f'"{avoided}": write "{words[avoided]}"')


def long_sentences(path: Path, markdown: str) -> Iterator[Problem]:
    """Find the sentences that are too long; a piece of code counts as one word."""
    for line, paragraph in _paragraphs(markdown):
        place = 0
        for sentence in _END_OF_SENTENCE.split(paragraph):
            count = len(_WORD.findall(sentence))
            if count > LONGEST_SENTENCE:
                start = paragraph.index(sentence, place)
                beginning = " ".join(sentence.split()[:6])
                yield Problem(
                    path,
                    line + paragraph.count("\n", 0, start),
                    f"{count} words in a sentence, at most {LONGEST_SENTENCE}: {beginning} …",
                )
            place += len(sentence)


def main() -> int:
    """Print what is wrong, and return the exit code."""
    words = house_words(STYLE.read_text())
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
    problems: list[Problem] = []
    for name in filter(None, listed.stdout.split("\0")):
        path = Path(name)
        if (path.suffix not in SUFFIXES and path.name not in NAMES) or not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path != STYLE:
            problems.extend(avoided_words(path, text, words))
        if path.suffix == ".md":
            problems.extend(long_sentences(path, text))
    for problem in sorted(problems):
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


@cache
def _any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """A group for each phrase. A method (`file.tell()`) or a part of a longer word is no word."""
    alternatives = "|".join(f"({_GAP.join(phrase.split())})" for phrase in phrases)
    letter = r"[^\W_]"
    return re.compile(rf"(?<!{letter})(?<![.$-])(?:{alternatives})(?!{letter})(?!-)", re.IGNORECASE)


def _paragraphs(markdown: str) -> Iterator[tuple[int, str]]:
    """The line and the text of each paragraph, heading, item and cell."""
    line = 1
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.map:
            line = token.map[0] + 1
        if token.type == "inline":
            yield line, "".join(_shown(child) for child in token.children or ())


def _shown(token: Token) -> str:
    if token.type == "code_inline":
        return "code"
    return "\n" if token.type in {"softbreak", "hardbreak"} else token.content


if __name__ == "__main__":
    sys.exit(main())
