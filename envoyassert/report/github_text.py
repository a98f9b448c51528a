"""What GitHub Actions shows: a session as a summary in Markdown, and failures as annotations.

Each is on the line of the YAML file that was not met. Source: GitHub Docs, "Workflow commands for
GitHub Actions" (setting an error message), and `@actions/core`, which escapes in the way done here.
"""

from __future__ import annotations

import html
import os.path
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envoyassert.errors import Problem
from envoyassert.shown import shown, shown_lines


@dataclass(frozen=True)
class Annotation:
    """What is wrong at one place of a file.

    Args:
        path: the file, relative to the root of the repository.
        line: 1-based.
        title: a few words.
        message: the text, of any number of lines.
        column: 1-based, 0 if unknown.
        kind: `error` or `warning`.
    """

    path: str
    line: int
    title: str
    message: str
    column: int = 0
    kind: str = "error"


def workflow_command(annotation: Annotation) -> str:
    """Return the line of output from which GitHub makes an annotation."""
    properties = {"file": annotation.path, "line": str(annotation.line)}
    if annotation.column:
        properties["col"] = str(annotation.column)
    properties["title"] = annotation.title
    described = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{annotation.kind} {described}::{_data(annotation.message)}"


def _data(text: str) -> str:
    return shown_lines(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(shown(text)).replace(":", "%3A").replace(",", "%2C")


def problem_annotations(
    problems: Iterable[Problem], workspace: str = "", kind: str = "error"
) -> list[Annotation]:
    """Return the problems of a scenario file as annotations; none for the file as a whole.

    Args:
        problems: what is wrong with it.
        workspace: the directory of the checkout, or "" if unknown.
        kind: `error`, or `warning` for what does not make it invalid.
    """
    return [
        Annotation(
            in_repository(one.path, workspace),
            one.line,
            "invalid scenario" if kind == "error" else "doubtful scenario",
            shown(one.text),
            one.column,
            kind,
        )
        for one in problems
        if one.line
    ]


def in_repository(path: str, workspace: str) -> str:
    """Return a path relative to the checkout, as annotations need it.

    Args:
        path: an absolute path, or one relative to the current directory.
        workspace: the directory of the checkout, or "" if unknown.
    """
    if not workspace:
        return path
    relative = os.path.relpath(path, workspace)
    return path if relative.startswith(os.pardir) else relative


#: GitHub drops a summary of more than 1 MiB altogether.
MAX_BYTES = 1024 * 1024
_ROOM_FOR_NOTE = 200
_SIGNS = {"FAIL": "❌", "INCONCLUSIVE": "❔"}


@dataclass(frozen=True)
class Entry:
    """A run that did not pass.

    Args:
        status: FAIL, INCONCLUSIVE, or ERROR if Envoy was never judged.
        run: `inbound[concurrency=2]`.
        place: `scenarios/inbound.yaml:14`.
        reason: why, in one line.
        text: the whole text.
        map: its sockets as Mermaid, or "".
    """

    status: str
    run: str
    place: str
    reason: str
    text: str
    map: str = ""


def job_summary(counts: Sequence[str], entries: Sequence[Entry], max_bytes: int = MAX_BYTES) -> str:
    """Return the summary as Markdown.

    Args:
        counts: how many runs there were, the first line being the headline.
        entries: what did not pass.
        max_bytes: greatest size; texts that have no room are left out, which is said.
    """
    lines = [f"## envoyassert: {inline(counts[0])}" if counts else "## envoyassert"]
    if counts[1:]:
        lines += ["", *(f"- {inline(line.strip())}" for line in counts[1:])]
    if entries:
        lines += ["", "| verdict | run | where | why |", "|---|---|---|---|"]
        lines += [_row(entry) for entry in entries]
    text = "\n".join([*lines, *_first_map(entries)]) + "\n"
    for number, entry in enumerate(entries):
        part = _details(entry)
        if len((text + part).encode()) > max_bytes - _ROOM_FOR_NOTE:
            text += f"\n… and the texts of {len(entries) - number} more, which the log has\n"
            break
        text += part
    return text


def _first_map(entries: Sequence[Entry]) -> list[str]:
    """Return the map of the first failure, of what is INCONCLUSIVE if there is none."""
    drawn = sorted((e for e in entries if e.map), key=lambda entry: entry.status != "FAIL")
    if not drawn:
        return []
    first = drawn[0]
    return ["", f"### Sockets of {inline(first.run)}", "", "```mermaid", first.map, "```"]


def _row(entry: Entry) -> str:
    sign = _SIGNS.get(entry.status, "⚠️")
    cells = (f"{sign} {entry.status}", entry.run, entry.place, entry.reason)
    return "| " + " | ".join(inline(cell) for cell in cells) + " |"


def _details(entry: Entry) -> str:
    # Within an HTML block Markdown has no say.
    title = html.escape(shown(f"{entry.status} {entry.run}"), quote=False)
    block = code_block(entry.text)
    return f"\n<details><summary>{title}</summary>\n\n{block}\n\n</details>\n"


def code_block(text: str) -> str:
    """Return a text of several lines that Markdown shows as it is."""
    # A fence must be longer than any run of backticks within it.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown_lines(text)}\n{fence}"


def code(text: str) -> str:
    """Return a text as code within a line, outside of tables."""
    flat = shown(" ".join(text.split()))
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    if not longest:
        return f"`{flat}`"
    # As many as end it must be nowhere within it, and a space keeps them apart.
    fence = "`" * (longest + 1)
    return f"{fence} {flat} {fence}"


def inline(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line.

    GitHub looks for `@name`, which notifies a user, once escapes are resolved: a backslash or
    `&#64;` does not keep it from that. An empty comment in between does, and is not shown.
    Source: github/cmark-gfm issue 181.
    """
    plain = html.escape(shown(" ".join(text.split())), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain).replace("@", "@<!-- -->")
