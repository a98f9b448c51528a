"""What an excerpt of a trace may say: it fails where the whole trace did, and proves nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from envoyassert.excerpt import Excerpt
from envoyassert.judge.value_json import to_json
from envoyassert.judge.values import Fact
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
    kept = Fact("excerpt_of", kept=len(trace.events), events=excerpt.events)
    return (Check(EXCERPT_CHECK, False, kept),)


def shown_by(finding: Finding, events: int = 0) -> Excerpt:
    """Return what an excerpt says that shows a finding.

    Args:
        finding: the failure.
        events: how many events the whole trace has.
    """
    wanted, seen = to_json(finding.wanted), to_json(finding.seen)
    return Excerpt(events, finding.path, finding.code, wanted, seen)


def as_excerpt(findings: Iterable[Finding], excerpt: Excerpt | None) -> list[Finding]:
    """Return the findings of an excerpt: all but the one that it shows are INCONCLUSIVE.

    Args:
        findings: as if the trace were whole.
        excerpt: what it shows; None for a whole trace, of which nothing is changed.
    """
    if excerpt is None:
        return list(findings)
    return [
        finding
        if finding.status in FAILURES and excerpt.shows(shown_by(finding))
        else replace(
            finding,
            status=Status.INCONCLUSIVE,
            reason=Fact("excerpt" if excerpt.code else "excerpt_in_words"),
            cause=None,
        )
        for finding in findings
    ]
