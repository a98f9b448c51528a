"""What an excerpt of a trace may say: it fails where the whole trace did, and proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from envoyassert.excerpt import Excerpt
from envoyassert.judge.interval import plural
from envoyassert.judge.verdict import Check, Finding, Status
from envoyassert.trace import Trace

#: Name of the check that a trace is no excerpt.
EXCERPT_CHECK = "not an excerpt"
#: What can be shown by an excerpt.
FAILURES = (Status.FAIL, Status.KNOWN_DEFECT)


def excerpt_check(trace: Trace) -> tuple[Check, ...]:
    """Return the line of the certificate that says so of an excerpt; none for a whole trace."""
    excerpt = trace.header.excerpt
    if excerpt is None:
        return ()
    told = f"{len(trace.events)} of {plural(excerpt.events, 'event')} are kept, to show a failure"
    return (Check(EXCERPT_CHECK, False, told),)


def as_excerpt(findings: Iterable[Finding], excerpt: Excerpt | None) -> list[Finding]:
    """Return the findings of an excerpt: all but the one that it shows are undecided.

    Args:
        findings: as if the trace were whole.
        excerpt: what it shows; None for a whole trace, of which nothing is changed.
    """
    if excerpt is None:
        return list(findings)
    return [
        finding
        if finding.status in FAILURES
        and excerpt.shows(finding.path, finding.expected, finding.seen)
        else replace(
            finding,
            status=Status.INCONCLUSIVE,
            reason="an excerpt of a trace shows one failure and proves nothing else",
            hint="",
        )
        for finding in findings
    ]
