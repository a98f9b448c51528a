"""What a person reads when a run did not pass: what is wrong, where, and what now."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Certificate, Finding, Status, Verdict
from envoyassert.names import signal_text
from envoyassert.report.call import Clock, fd_label, render_call, thread_label
from envoyassert.report.table import columns, count, wrapped
from envoyassert.trace import Trace

#: Findings told in full; the others get a line each, so that the text stays on one screen.
_IN_FULL = 2
_IN_SHORT = 5
_EVIDENCE = 5
_PARAGRAPH = 2
_LOG_LINES = 5
_LOG_WIDTH = 240


@dataclass(frozen=True)
class Place:
    """Where a scenario file says what was not met.

    Args:
        path: the file as the user named it.
        line, column: 1-based.
        excerpt: the line and its surroundings with a caret, as lines.
    """

    path: str
    line: int
    column: int
    excerpt: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


def _nowhere(_path: tuple[str | int, ...]) -> Place | None:
    return None


@dataclass(frozen=True)
class Context:
    """What the text needs beside the verdict.

    Args:
        title: the run: `reuse_port_off[concurrency=2]`.
        place: finds the place of an atom in the scenario file; None where there is no file.
        scenario_path: the scenario file, for the replay command; "" if there is none.
        trace_path: the saved trace, or "".
        log_path: the saved log of Envoy, or "".
    """

    title: str = ""
    place: Callable[[tuple[str | int, ...]], Place | None] = _nowhere
    scenario_path: str = ""
    trace_path: str = ""
    log_path: str = ""


def deciding(verdict: Verdict) -> tuple[Finding, ...]:
    """Return the findings that made the verdict what it is: those of its status.

    What became of the process comes first: where Envoy ended, it explains the others.
    """
    findings = verdict.with_status(verdict.status)
    return tuple(sorted(findings, key=lambda finding: not _about_process(finding)))


def headline(verdict: Verdict, title: str = "") -> str:
    """Return the verdict in one line, naming the first atom that was not met.

    `FAIL reuse_port_off: port 15006 bound.times: expected exactly 1 time, seen 2 times`
    """
    start = f"{verdict} {title}".rstrip()
    reason = reason_line(verdict)
    return f"{start}: {reason}" if reason else start


def reason_line(verdict: Verdict) -> str:
    """Return why a verdict is not PASS in one line, without the verdict; "" if it is PASS."""
    findings = deciding(verdict)
    if verdict.status is Status.PASS or not findings:
        return ""
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return _sentence(findings[0]) + more


def _about(finding: Finding) -> str:
    """Return what a finding is about, with its atom: `port 15006 bound.times`."""
    if finding.atom.split(".")[0] == finding.subject:
        return finding.atom
    return f"{finding.subject} {finding.atom}".strip()


def _sentence(finding: Finding) -> str:
    subject = _about(finding)
    if finding.status is Status.INCONCLUSIVE:
        return f"{subject}: {finding.reason or 'cannot be decided'}"
    return f"{subject}: expected {finding.expected}, seen {finding.seen}"


def failure_lines(
    verdict: Verdict, trace: Trace, graph: SocketGraph, context: Context | None = None
) -> list[str]:
    """Return the whole text for a verdict that is not PASS, at most about 60 lines.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: its socket graph, for thread names.
        context: places and paths.
    """
    context = context or Context()
    findings = deciding(verdict)
    clock = Clock(trace)
    lines = wrapped(headline(verdict, context.title), hang="  ", max_lines=_PARAGRAPH)
    for finding in findings[:_IN_FULL]:
        lines += ["", *_finding(finding, graph, clock, context)]
    lines += _in_short(findings[_IN_FULL:], context)
    lines += _other_statuses(verdict)
    if any(_about_process(finding) for finding in findings) or not trace.end.outcome.running:
        lines += _log_tail(trace)
    lines += ["", *wrapped(_run_line(trace), hang="  ")]
    lines += wrapped(f"certificate: {certificate_line(verdict.certificate)}", hang="  ")
    lines += _paths(context)
    return lines


def _finding(finding: Finding, graph: SocketGraph, clock: Clock, context: Context) -> list[str]:
    place = context.place(finding.path)
    lines = []
    if place is not None:
        lines.append(str(place))
        lines += place.excerpt
    rows = [
        ["expected", f"{_about(finding)}: {finding.expected}"],
        ["seen", finding.seen],
        ["undecided", finding.reason],
        ["why", finding.why],
        ["hint", finding.hint],
    ]
    lines += columns([row for row in rows if row[1]], "  ", max_lines=_PARAGRAPH)
    if finding.evidence:
        lines += _evidence(finding, graph, clock)
    return lines


def _evidence(finding: Finding, graph: SocketGraph, clock: Clock) -> list[str]:
    rows = [
        [
            clock.text(event.ts_ns),
            thread_label(graph, event.tid),
            fd_label(event),
            render_call(event),
        ]
        for event in finding.evidence[:_EVIDENCE]
    ]
    lines = columns([["time", "thread", "fd", "call"], *rows], "  ")
    left_out = len(finding.evidence) - _EVIDENCE
    if left_out > 0:
        lines.append(f"  … and {count(left_out, 'more event', 'more events')}")
    return lines


def _in_short(findings: tuple[Finding, ...], context: Context) -> list[str]:
    if not findings:
        return []
    lines = ["", "also:"]
    for finding in findings[:_IN_SHORT]:
        place = context.place(finding.path)
        where = f"{place}: " if place is not None else ""
        lines += wrapped(f"{where}{_sentence(finding)}", "  ", "    ", max_lines=1)
    if len(findings) > _IN_SHORT:
        lines.append(f"  … and {len(findings) - _IN_SHORT} more")
    return lines


def _other_statuses(verdict: Verdict) -> list[str]:
    others = [
        f"{len(verdict.with_status(status))} {status.value}"
        for status in Status
        if status is not verdict.status and verdict.with_status(status)
    ]
    return ["", f"other findings: {', '.join(others)}"] if others else []


def _about_process(finding: Finding) -> bool:
    return finding.subject.startswith("process") or "process" in finding.path


def _log_tail(trace: Trace) -> list[str]:
    tail = trace.end.outcome.log_tail[-_LOG_LINES:]
    if not tail:
        return ["", "Envoy printed nothing"]
    return ["", "Envoy's log ends with"] + ["  " + line.rstrip()[:_LOG_WIDTH] for line in tail]


def _run_line(trace: Trace) -> str:
    header = trace.header
    envoy = header.envoy
    facts = [f"Envoy {envoy.version}" if envoy.version else envoy.source or "Envoy (unknown)"]
    if envoy.build_id:
        facts.append(f"build id {envoy.build_id[:12]}")
    if envoy.image_digest:
        facts.append(f"image {envoy.image_digest[:19]}")
    if header.launcher:
        facts.append(f"launcher {header.launcher}")
    facts.append(f"concurrency {header.concurrency or 'unknown'}")
    facts.append(count(len(trace.events), "event"))
    outcome = trace.end.outcome
    if outcome.exit_code is not None:
        facts.append(f"ended with status {outcome.exit_code}")
    elif outcome.signal is not None:
        facts.append(f"killed by {signal_text(outcome.signal)}")
    return "run: " + ", ".join(facts)


def certificate_line(certificate: Certificate) -> str:
    """Return what is known of a trace's completeness in one line."""
    if certificate.missing:
        missing = "; ".join(f"{check.name}: {check.detail}" for check in certificate.missing)
        return f"NOT whole ({missing})"
    held = [check.name for check in certificate.checks if check.ok]
    return f"whole ({', '.join(held)})" if held else "no check applies to this trace"


def _paths(context: Context) -> list[str]:
    lines = []
    if context.trace_path:
        lines.append(f"trace: {context.trace_path}")
    if context.log_path:
        lines.append(f"log: {context.log_path}")
    if context.trace_path and context.scenario_path:
        words = ["envoyassert", "replay", context.trace_path, "--scenario", context.scenario_path]
        lines.append(f"replay: {shlex.join(words)}")
    return lines
