"""Known defects: a failure that is expected, and a success that is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.requires import satisfies

#: Last part of the path of the finding that an expectation holds which must fail.
KNOWN_DEFECT = "known_defect"


def with_known_defect(
    findings: Iterable[Finding], index: int, item: Conditional, version: str
) -> list[Finding]:
    """Return the findings of an expectation as its known defect asks for them.

    Args:
        findings: those of one expectation.
        index: its place in the scenario.
        item: the expectation.
        version: of the Envoy that ran, "" if it is unknown: then nothing is excused.

    Returns:
        On the versions that have the defect, failures are KNOWN_DEFECT; if all of the expectation
        holds, a finding that this must not be is added, which is a FAIL. What is INCONCLUSIVE stays
        so, for it shows neither.
    """
    found = list(findings)
    defect = item.known_defect
    if defect is None or not found or not version or not satisfies(version, defect.versions):
        return found
    if all(finding.status is Status.PASS for finding in found):
        unexpected = Finding(
            Status.FAIL,
            ("expect", index, KNOWN_DEFECT),
            found[0].subject,
            f"to fail on Envoy {defect.versions} ({defect.text})",
            f"an unexpected pass: all of it holds on {version}",
            hint=f"if Envoy mended it, end `versions` below {version}; if it was something else, "
            "remove `known_defect`",
            why=item.why or "",
        )
        return [*found, unexpected]
    known = f"{defect.text}: {defect.what}" if defect.what else defect.text
    return [
        replace(finding, status=Status.KNOWN_DEFECT, known_defect=known)
        if finding.status is Status.FAIL
        else finding
        for finding in found
    ]


def unexcused(
    expectations: Iterable[tuple[int, Conditional]],
) -> tuple[tuple[int, Conditional], ...]:
    """Return expectations without their known defects, so that what fails is a FAIL."""
    return tuple(
        (index, item.model_copy(update={"known_defect": None})) for index, item in expectations
    )
