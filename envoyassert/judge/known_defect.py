"""Known defects: a failure that is expected, and a success that is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from envoyassert.judge.values import Fact, Quote
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.trace import Phase, Trace
from envoyassert.versions import satisfies
from envoyassert.words.process import ProcessExpectation

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
            KNOWN_DEFECT,
            found[0].subject,
            Fact("fails_on", versions=defect.versions, defect=Quote(defect.text)),
            Fact("unexpected_pass", version=version),
            cause=Fact("defect_gone", version=version),
            why=item.why or "",
        )
        return [*found, unexpected]
    what = Quote(defect.what) if defect.what else None
    known = Fact("known_defect", defect=Quote(defect.text), what=what)
    return [
        replace(finding, status=Status.KNOWN_DEFECT, known_defect=known)
        if finding.status is Status.FAIL
        else finding
        for finding in found
    ]


def with_fatal_defects(
    steps: Iterable[Finding],
    trace: Trace,
    items: Iterable[tuple[int, Conditional]],
    found: list[Finding],
) -> list[Finding]:
    """Return the findings about steps; one that Envoy did not survive is part of a known death.

    A step that was not met is a known defect only if Envoy was up when it began and had ended
    when it was over, and if that is what a known defect says: an expectation `stays_up: true` about
    that very step, which failed. Everything else that a step did not come to stays a failure.

    Args:
        steps: findings about steps; the second part of the path is the step's place.
        trace: the whole trace.
        items: all expectations, each with its place.
        found: their findings, with their known defects.
    """
    deaths = {
        finding.path[1]: finding
        for finding in found
        if finding.status is Status.KNOWN_DEFECT and finding.path[2:] == ("process", "stays_up")
    }
    known = {
        item.phase: deaths[index]
        for index, item in items
        if index in deaths and isinstance(item, ProcessExpectation) and item.process.stays_up
    }
    result = []
    for finding in steps:
        place = finding.path[1]
        assert isinstance(place, int)
        before, phase = trace.phases[place], trace.phases[place + 1]
        death = known.get(phase.name)
        if death is None or finding.status is not Status.FAIL or not _ended_in(phase, before):
            result.append(finding)
        else:
            said = death.known_defect
            result.append(replace(finding, status=Status.KNOWN_DEFECT, known_defect=said))
    return result


def _ended_in(phase: Phase, before: Phase) -> bool:
    """Whether the only Envoy there was ended in a phase."""
    return not phase.envoys and before.outcome.running and not phase.outcome.running


def unexcused(
    expectations: Iterable[tuple[int, Conditional]],
) -> tuple[tuple[int, Conditional], ...]:
    """Return expectations without their known defects, so that what fails is a FAIL."""
    return tuple(
        (index, item.model_copy(update={"known_defect": None})) for index, item in expectations
    )
