"""A verdict as JSON types."""

from __future__ import annotations

from typing import Any

from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.report.advice import advice
from envoyassert.report.call import Clock, render_call, thread_label
from envoyassert.report.failure import Context
from envoyassert.trace import Outcome, Trace

FORMAT = "envoyassert-verdict/1"


def verdict_json(
    verdict: Verdict, trace: Trace, graph: SocketGraph, context: Context | None = None
) -> dict[str, Any]:
    """Return a verdict with every finding, its evidence and the certificate as JSON types.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: its socket graph.
        context: places in the scenario file.
    """
    context = context or Context()
    clock = Clock(trace)
    return {
        "format": FORMAT,
        "run": context.title,
        "status": verdict.status.value,
        "assumed": list(verdict.assumed),
        "findings": [
            {
                **_finding(finding, graph, clock, context),
                "hint": _hint(finding, verdict, trace.end.outcome),
            }
            for finding in verdict.findings
        ],
        "certificate": [
            {"name": check.name, "ok": check.ok, "detail": check.detail}
            for check in verdict.certificate.checks
        ],
    }


def _hint(finding: Finding, verdict: Verdict, outcome: Outcome) -> str:
    return "" if finding.status is Status.PASS else advice(finding, verdict, outcome)


def _finding(
    finding: Finding, graph: SocketGraph, clock: Clock, context: Context
) -> dict[str, Any]:
    place = context.place(finding.path)
    return {
        "status": finding.status.value,
        "path": list(finding.path),
        "subject": finding.subject,
        "atom": finding.atom,
        "expected": finding.expected,
        "seen": finding.seen,
        "reason": finding.reason,
        "closest": finding.closest,
        "why": finding.why,
        "location": None if place is None else str(place),
        "evidence": [
            {
                "at_ms": clock.ms(event.ts_ns),
                "pid": event.pid,
                "tid": event.tid,
                "thread": thread_label(graph, event.tid),
                "call": render_call(event),
                "stack": list(event.stack),
            }
            for event in finding.evidence
        ],
    }
