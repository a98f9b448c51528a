"""What Envoy itself said: the lines of its log that explain why a run went wrong."""

from __future__ import annotations

import re

from envoyassert.report.envoy_reason import Reason, messages, reason_of, tidy
from envoyassert.report.log_records import LogRecord
from envoyassert.report.table import wrapped
from envoyassert.trace import Outcome

#: Records shown at most, and lines of text for each.
_RECORDS = 4
_LAST_RECORDS = 3
_LINES = 4

# With a format of the user's own there is no level to see.
_EXITING = re.compile(r"\bexiting\W*$")

_WORTH = {"critical": 0, "error": 1, "": 2, "warning": 3}
# A warning explains something if it is about a refusal; the others are advice on the config.
_REFUSAL = re.compile(
    r"reject|fail|cannot|unable|error|duplicate|refus|denied|not permitted|in use|skipping",
    re.IGNORECASE,
)
# Hundreds of names at every start, and advice that every start gets: never the reason of anything.
_LISTING = re.compile(
    r"  [\w.]+: \S|statically linked extensions|HTTP header map|  \w+ \w+ map: "
    r"|There is no configured limit"
)


def _records_of(outcome: Outcome) -> list[LogRecord]:
    """Return the messages at the end of the log, each on one line, without what is in every log."""
    return [
        LogRecord(record.level, record.component, tidy(record.text))
        for record in messages(outcome.log_tail)
        if not (record.level and _LISTING.match(record.text))
    ]


def complaints(outcome: Outcome) -> list[LogRecord]:
    """Return the messages that say what went wrong, the gravest ones, in their order.

    Args:
        outcome: what happened to Envoy, with the end of its log.
    """
    records = _records_of(outcome)
    grave = [
        (number, record)
        for number, record in enumerate(records)
        if record.level in ("critical", "error")
        or (record.level == "warning" and _REFUSAL.search(record.text))
        # Without a level: what Envoy prints last before it gives up, or a library in distress.
        or (not record.level and not outcome.running and not _EXITING.search(record.text))
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


def cause(outcome: Outcome) -> Reason:
    """Return why Envoy ended, by its own words; empty if they do not say."""
    if outcome.running:
        return Reason()
    reason = reason_of(outcome.log_tail, crashed=outcome.signal is not None)
    found = complaints(outcome)
    if reason.text or outcome.signal is not None or not found:
        return reason
    _, first = min(enumerate(found), key=_gravity)
    return Reason(first.text)


def said_lines(outcome: Outcome) -> list[str]:
    """Return what Envoy said as lines of text with a title, [] if nothing of it explains anything.

    A message too long for the page is wrapped, and what is cut off after that is marked with `…`.
    """
    title, records = "Envoy said", complaints(outcome)
    wrong = not outcome.running or outcome.live is False
    if not records and wrong:
        title, records = "Envoy's log ends with", _records_of(outcome)[-_LAST_RECORDS:]
    if not records:
        return ["Envoy printed nothing"] if wrong else []
    lines = [title]
    for record in records:
        lines += wrapped(str(record), "  ", "    ", max_lines=_LINES)
    return lines
