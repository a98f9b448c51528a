"""Verdicts: what was found for every expectation, and how far the trace can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING

from envoyassert.frozen import brief_repr, frozen

# Every command knows the statuses, for its exit code; few need what a finding is made of.
if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.judge.near import Near
    from envoyassert.judge.values import (
        Fact,
        Reason,
        Scope,
        Topic,
        Value,
    )


class Status(Enum):
    """Of a finding and of a whole run; the worst finding decides."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    KNOWN_DEFECT = "KNOWN_DEFECT"
    INCONCLUSIVE = "INCONCLUSIVE"
    SKIPPED = "SKIPPED"


@frozen
class Finding:
    """The answer to one atom of one expectation, as data; `texts.findings` makes the texts.

    Args:
        status: PASS, FAIL, INCONCLUSIVE, KNOWN_DEFECT for a FAIL that must be, or SKIPPED for what
            this build of Envoy can never show.
        path: where the atom stands in the scenario: `("expect", 0, "bound", "times")`.
        code: what was asked, whatever the listener: `bound.times`; the path of the words without
            numbers and names of the scenario's own.
        subject: what it is about.
        wanted: what was asked.
        seen: what was observed.
        reason: why it could not be decided; None unless INCONCLUSIVE or SKIPPED.
        evidence: the few events that show it, in time order.
        cause: what a FAIL means at the level of behaviour, or None.
        why: the scenario's own `why`, or "".
        near: what came closest to what is not there, field by field.
        known_defect: the defect that explains it; None unless it is a KNOWN_DEFECT.
        scope: the part of the run that it is confined to, None for the whole start.
    """

    status: Status
    path: tuple[str | int, ...]
    code: str
    subject: Topic
    wanted: Value
    seen: Value
    reason: Reason | None = None
    evidence: tuple[Event, ...] = ()
    cause: Fact | None = None
    why: str = ""
    near: tuple[Near, ...] = ()
    known_defect: Fact | None = None
    scope: Scope | None = None

    @property
    def atom(self) -> str:
        """Dotted name of the atom without the expectation's number: `bound.times`."""
        return ".".join(str(part) for part in self.path[2:])


@frozen
class Check:
    """One line of the certificate.

    Args:
        name: what is looked at.
        ok: whether it holds; None means that it does not apply to this trace.
        found: what was found.
    """

    name: str
    ok: bool | None
    found: Fact


@frozen
class Certificate:
    """The proof that a trace is whole, or what of it is missing.

    Args:
        checks: its lines.
        uncompared: the numbers of sockets of which the kernel's account settles nothing, and why:
            what rests on them does not pass.
    """

    checks: tuple[Check, ...] = ()
    uncompared: Mapping[int, Fact] = field(default_factory=dict)

    __repr__ = brief_repr

    @property
    def missing(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


@frozen
class Verdict:
    """The judgement of one run.

    Args:
        status: FAIL if any finding failed, else INCONCLUSIVE if any is, else KNOWN_DEFECT if any
            is, else PASS if any is; where all are SKIPPED, INCONCLUSIVE.
        findings: one per atom, in the order of the scenario.
        certificate: what is known of the trace's completeness.
        assumed: members of the scenario's `assume` that this verdict relies on.
    """

    status: Status
    findings: tuple[Finding, ...]
    certificate: Certificate
    assumed: tuple[str, ...] = field(default=())

    __repr__ = brief_repr

    def with_status(self, status: Status) -> tuple[Finding, ...]:
        """Return the findings of one status."""
        return tuple(finding for finding in self.findings if finding.status is status)

    def __str__(self) -> str:
        notes = [f"assumed: {', '.join(self.assumed)}"] if self.assumed else []
        skipped = self.with_status(Status.SKIPPED)
        notes += [f"{len(skipped)} skipped"] if skipped else []
        if self.status is Status.PASS and notes:
            return f"PASS ({'; '.join(notes)})"
        return self.status.value


def worst(statuses: list[Status]) -> Status:
    """Return the status of a whole run: a seen violation outweighs an open question.

    Either outweighs a known defect, which excuses its own expectation and nothing else.
    """
    order = (Status.FAIL, Status.INCONCLUSIVE, Status.KNOWN_DEFECT, Status.PASS)
    return next((status for status in order if status in statuses), Status.INCONCLUSIVE)
