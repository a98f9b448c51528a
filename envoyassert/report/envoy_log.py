"""What Envoy itself said: the lines of its log that explain why a run went wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from envoyassert.report.table import wrapped
from envoyassert.trace import Outcome

#: Records shown at most, and lines of text for each.
_RECORDS = 4
_LAST_RECORDS = 3
_LINES = 4

# Envoy's default format `[time][thread][level][component] [file:line] text`, and Istio's, which
# separates the same by tabs (`time<TAB>level<TAB>envoy component file:line<TAB>text`).
_LEVELS = "trace|debug|info|warning|error|critical"
_BRACKETS = re.compile(
    rf"\[[\d\- :.,]+\]\[\d+\]\[(?P<level>{_LEVELS})\]\[(?P<component>[^\]]*)\]\s*"
    r"(?:\[[^\]\s]+:\d+\]\s?)?(?P<text>.*)"
)
_TABS = re.compile(
    rf"\S+\t(?P<level>{_LEVELS})\tenvoy (?P<component>\S+)(?: \S+:\d+)?\t(?P<text>.*)"
)

_WORTH = {"critical": 0, "error": 1, "": 2, "warning": 3}
# A warning explains something if it tells of a refusal; the others are advice on the config.
_REFUSAL = re.compile(
    r"reject|fail|cannot|unable|error|duplicate|refus|denied|not permitted|in use", re.IGNORECASE
)
# Hundreds of names at every start, and advice that every start gets: never the reason of anything.
_LISTING = re.compile(
    r"  [\w.]+: \S|statically linked extensions|HTTP header map|  \w+ \w+ map: "
    r"|There is no configured limit"
)
_REASON = re.compile(r"error `(?P<reason>.*)` initializing config.*")


@dataclass(frozen=True)
class LogRecord:
    """One message of Envoy's log, its continuation lines joined.

    Args:
        level: `critical`, `error`, `warning`, `info` …; "" for what was printed without one.
        component: `main`, `config` …; "" likewise.
        text: the message.
    """

    level: str
    component: str
    text: str

    def __str__(self) -> str:
        return f"[{self.level}][{self.component}] {self.text}" if self.level else self.text


def log_records(lines: Sequence[str]) -> list[LogRecord]:
    """Return the messages of a log; an indented line belongs to the one before it."""
    found: list[LogRecord] = []
    for line in lines:
        head = _BRACKETS.match(line) or _TABS.match(line)
        if head is not None:
            found.append(LogRecord(head["level"], head["component"], head["text"]))
        elif line[:1].isspace() and line.strip() and found and found[-1].level:
            last = found[-1]
            text = f"{last.text} {line.strip()}"
            found[-1] = LogRecord(last.level, last.component, text)
        elif line.strip():
            found.append(LogRecord("", "", line))
    return [
        LogRecord(record.level, record.component, _tidy(record.text))
        for record in found
        if not (record.level and _LISTING.match(record.text))
    ]


def _tidy(text: str) -> str:
    """Return a message on one line, without the name of the config file, which is ours."""
    return _REASON.sub(r"error `\g<reason>`", " ".join(text.split()))


def complaints(outcome: Outcome) -> list[LogRecord]:
    """Return the messages that say what went wrong, the gravest ones, in their order.

    Args:
        outcome: how Envoy fared, with the end of its log.
    """
    records = log_records(outcome.log_tail)
    grave = [
        (number, record)
        for number, record in enumerate(records)
        if record.level in ("critical", "error")
        or (record.level == "warning" and _REFUSAL.search(record.text))
        # Without a level: what Envoy prints last before it gives up, or a library in distress.
        or (not record.level and not outcome.running)
    ]
    worst = sorted(grave, key=_gravity)
    chosen: list[tuple[int, LogRecord]] = []
    for number, record in worst:
        if not any(record.text in other.text for _, other in chosen):
            chosen.append((number, record))
    return [record for _, record in sorted(chosen[:_RECORDS], key=lambda item: item[0])]


def _gravity(item: tuple[int, LogRecord]) -> tuple[int, int]:
    """Order numbered records: of the gravest ones the first, for the others wind up after it.

    Of what has no level the last one, for Envoy prints its reason right before it ends.
    """
    number, record = item
    return _WORTH[record.level], number if record.level else -number


def cause(outcome: Outcome) -> str:
    """Return in a phrase why Envoy ended, by its own words; "" if they do not tell."""
    if outcome.running:
        return ""
    found = complaints(outcome)
    if not found:
        return ""
    _, first = min(enumerate(found), key=_gravity)
    return first.text.removeprefix("error `").removesuffix("`")


def said_lines(outcome: Outcome) -> list[str]:
    """Return what Envoy said as lines of text with a title, [] if nothing of it explains anything.

    A message too long for the page is wrapped, and what is cut off after that is marked with `…`.
    """
    title, records = "Envoy said", complaints(outcome)
    amiss = not outcome.running or outcome.live is False
    if not records and amiss:
        title, records = "Envoy's log ends with", log_records(outcome.log_tail)[-_LAST_RECORDS:]
    if not records:
        return ["Envoy printed nothing"] if amiss else []
    lines = [title]
    for record in records:
        lines += wrapped(str(record), "  ", "    ", max_lines=_LINES)
    return lines
