"""A session as Markdown, for the summary page of a job."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from envoyassert.shown import shown, shown_lines

#: GitHub drops a summary of more than 1 MiB altogether.
MAX_BYTES = 1024 * 1024
_ROOM_FOR_NOTE = 200
_SIGNS = {"FAIL": "❌", "INCONCLUSIVE": "❔"}


@dataclass(frozen=True)
class Mishap:
    """A run that did not pass.

    Args:
        status: FAIL, INCONCLUSIVE, or ERROR if Envoy was never judged.
        run: `inbound[concurrency=2]`.
        place: `scenarios/inbound.yaml:14`.
        reason: why, in one line.
        text: the whole text.
    """

    status: str
    run: str
    place: str
    reason: str
    text: str


def job_summary(
    counts: Sequence[str], mishaps: Sequence[Mishap], max_bytes: int = MAX_BYTES
) -> str:
    """Return the summary as Markdown.

    Args:
        counts: how many runs there were, the first line being the headline.
        mishaps: what did not pass.
        max_bytes: greatest size; texts that have no room are left out, which is said.
    """
    lines = [f"## envoyassert: {_inline(counts[0])}" if counts else "## envoyassert"]
    if counts[1:]:
        lines += ["", *(f"- {_inline(line.strip())}" for line in counts[1:])]
    if mishaps:
        lines += ["", "| verdict | run | where | why |", "|---|---|---|---|"]
        lines += [_row(mishap) for mishap in mishaps]
    text = "\n".join(lines) + "\n"
    for number, mishap in enumerate(mishaps):
        part = _details(mishap)
        if len((text + part).encode()) > max_bytes - _ROOM_FOR_NOTE:
            text += f"\n… and the texts of {len(mishaps) - number} more, which the log has\n"
            break
        text += part
    return text


def _row(mishap: Mishap) -> str:
    sign = _SIGNS.get(mishap.status, "⚠️")
    cells = (f"{sign} {mishap.status}", mishap.run, mishap.place, mishap.reason)
    return "| " + " | ".join(_inline(cell) for cell in cells) + " |"


def _details(mishap: Mishap) -> str:
    # A fence must be longer than any run of backticks within it.
    longest = max((len(run) for run in re.findall(r"`+", mishap.text)), default=0)
    fence = "`" * max(3, longest + 1)
    # Within an HTML block Markdown has no say.
    title = html.escape(shown(f"{mishap.status} {mishap.run}"), quote=False)
    return (
        f"\n<details><summary>{title}</summary>\n\n{fence}text\n{shown_lines(mishap.text)}\n{fence}\n\n"
        "</details>\n"
    )


def _inline(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    plain = html.escape(shown(" ".join(text.split())), quote=False)
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", plain)
