"""What a failing test says of a verdict."""

from __future__ import annotations

from envoyassert.judge.verdict import Status, Verdict
from envoyassert.texts.findings import words_of


def not_passed(verdict: Verdict) -> list[str]:
    """Return a line for each finding that is not PASS: what is wrong, expected and seen."""
    lines = []
    for finding in verdict.findings:
        if finding.status is not Status.PASS:
            words = words_of(finding)
            status = finding.status.name
            lines.append(f"{words.subject} {status}: {words.expected}; {words.seen}")
    return lines
