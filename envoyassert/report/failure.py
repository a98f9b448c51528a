"""What a person reads when a run did not pass: what is wrong, where, and what now."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from envoyassert.errors import guarded
from envoyassert.frozen import frozen
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.values import Reason
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.naming import ListenerRecord
from envoyassert.report.advice import advice_or_fault
from envoyassert.report.call import Clock, fd_label, render_call, thread_label
from envoyassert.report.certificate import certificate_line, certificate_part
from envoyassert.report.changes import Remedy
from envoyassert.report.envoy_log import said_lines
from envoyassert.report.headline import (
    about,
    about_process,
    closest,
    deciding,
    end_in_words,
    headline,
    sentence,
    setback,
    statement,
)
from envoyassert.report.places import Blame, Finder, nowhere, unblamed
from envoyassert.report.table import columns, count, wrapped
from envoyassert.steps.registry import unasked_outcome
from envoyassert.texts.findings import config_field, words_of
from envoyassert.trace import ATTACHED, Outcome, Trace

#: Findings shown in full; the others in short, so that the text stays on about one screen.
_IN_FULL = 2
_IN_SHORT = 5
_EVIDENCE = 5
_PARAGRAPH = 3
#: What is said of a FAIL that is its cause; all else is advice.
_CAUSES = frozenset({"shape", "one_worker", "no_thread_waits", "invariant_broke"})
#: With more events than this, a few of them show more.
_MANY_EVENTS = 500


@frozen
class RunContext:
    """What the text needs beside the verdict.

    Args:
        title: the run: `reuse_port_off[concurrency=2]`.
        place: finds the place of an atom in the scenario file; None where there is no file.
        scenario_path: the scenario file, for the replay command; "" if there is none.
        trace_path: the saved trace, or "".
        log_path: the saved log of Envoy, or "".
        replayed: whether this is the text of a replay, which needs no word on how to replay, and
            shows the whole certificate.
        remedies: what would make failures hold, by the path of their atoms.
        blame: finds what Envoy's reason for its end means in its config.
        after_story: whether the trace's story stands before it, which has the whole certificate.
    """

    title: str = ""
    place: Finder = nowhere
    scenario_path: str = ""
    trace_path: str = ""
    log_path: str = ""
    replayed: bool = False
    remedies: Mapping[tuple[str | int, ...], Remedy] = field(default_factory=dict)
    blame: Blame = unblamed
    after_story: bool = False

    @property
    def replay_command(self) -> str:
        """The command that judges the saved trace again, or ""."""
        if self.replayed or not (self.trace_path and self.scenario_path):
            return ""
        return self._replay()

    @property
    def everything_command(self) -> str:
        """The command that shows every finding in full, or ""."""
        return f"{self._replay()} --all" if self.trace_path and self.scenario_path else ""

    def _replay(self) -> str:
        words = ["envoyassert", "replay", self.trace_path, "--scenario", self.scenario_path]
        return shlex.join(words)


def failure_lines(
    verdict: Verdict,
    trace: Trace,
    graph: SocketGraph,
    context: RunContext | None = None,
    *,
    everything: bool = False,
) -> list[str]:
    """Return the whole text for a verdict that is not PASS, about a screen of lines.

    If it cannot be made, the findings and the paths alone, with the fault.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: its socket graph, for thread names.
        context: places and paths.
        everything: show every finding in full, however many there are.
    """
    context = context or RunContext()
    return guarded(
        lambda: _failure_lines(verdict, trace, graph, context, everything),
        lambda fault: _bare_lines(verdict, context, fault),
    )


def _bare_lines(verdict: Verdict, context: RunContext, fault: str) -> list[str]:
    lines = [f"{verdict.status.value} {context.title}".rstrip(), f"this text: {fault}", ""]
    for finding in verdict.findings:
        if finding.status is not Status.PASS:
            words = words_of(finding)
            lines.append(f"{finding.status.value} {words.subject} {finding.atom}")
            lines.append(f"  expected {words.expected}; seen {words.seen} {words.reason}")
    return [*lines, *_paths(context, many=False)]


def _failure_lines(
    verdict: Verdict, trace: Trace, graph: SocketGraph, context: RunContext, everything: bool
) -> list[str]:
    outcome = unasked_outcome(trace)
    text = _Text(verdict, graph, Clock(trace), context, outcome, trace.header.listeners)
    groups = _groups(deciding(verdict, context.place), everything)
    shown = [finding for group in groups for finding in group.in_full]
    lines = text.beginning(groups)
    said = said_lines(outcome, captured=trace.header.launcher != ATTACHED)
    # Where Envoy did not come up, what it said about that is what a reader wants first.
    # So is why a listener is not there.
    early = not outcome.running or outcome.live is False or any(f.near for f in shown)
    if said and early:
        lines += ["", *said]
    hints: set[str] = set()
    for number, group in enumerate(groups):
        if number and group.cause and group.in_full:
            lines += ["", *wrapped(f"cause: {group.cause}", hang="  ")]
        hints.add(group.cause)
        for finding in group.in_full:
            lines += ["", *text.in_full(finding, hints)]
        lines += text.in_short(group, [finding.reason for finding in shown])
    lines += _other_statuses(verdict)
    if said and not early:
        lines += ["", *said]
    lines += ["", *wrapped(_run_line(trace), hang="  ")]
    lines += [line for one in trace.header.stood_in for line in wrapped(f"stood in: {one}")]
    if context.after_story:
        lines.append(f"certificate: {certificate_line(verdict.certificate)}")
    else:
        lines += certificate_part(verdict.certificate, full=context.replayed)
    many = verdict.status is Status.FAIL and len(trace.events) > _MANY_EVENTS
    lines += _paths(context, many)
    return lines


@dataclass
class _Group:
    """Findings with one cause, "" where none is known: those shown in full, and those in short."""

    cause: str
    cause_in_brief: str
    in_full: list[Finding] = field(default_factory=list)
    in_short: list[Finding] = field(default_factory=list)


def _groups(findings: tuple[Finding, ...], everything: bool) -> list[_Group]:
    """Part findings by what caused them, and into those shown in full and those in short.

    One of each cause is shown in full, of a listener that is not there, and of what is INCONCLUSIVE
    for one reason: the others would say the same.
    """
    groups: dict[str, _Group] = {}
    full: list[Finding] = []
    for finding in findings:
        key, cause = _cause(finding)
        group = groups.setdefault(key, _Group(cause, key))
        again = any(_says_the_same(finding, described) for described in full)
        again = again or bool(key and group.in_full)
        if everything or (len(full) < _IN_FULL and not again):
            full.append(finding)
            group.in_full.append(finding)
        else:
            group.in_short.append(finding)
    return list(groups.values())


def _cause(finding: Finding) -> tuple[str, str]:
    """Return by what findings of one cause are known, and the cause in words; "" for none."""
    if finding.status is not Status.FAIL or finding.cause is None:
        return "", ""
    if finding.cause.code not in _CAUSES:
        return "", ""
    words = words_of(finding).hint
    return config_field(finding) or words, words


def _says_the_same(finding: Finding, described: Finding) -> bool:
    if finding.reason or described.reason:
        return finding.reason == described.reason
    if finding.subject != described.subject or about_process(finding):
        return False
    # Without a closest candidate or an event there is nothing to show but that nothing is there.
    return finding.near == described.near and bool(finding.near or not finding.evidence)


@frozen
class _Text:
    """What the parts of one text share."""

    verdict: Verdict
    graph: SocketGraph
    clock: Clock
    context: RunContext
    outcome: Outcome
    listeners: Sequence[ListenerRecord]

    def beginning(self, groups: list[_Group]) -> list[str]:
        """Return what is wrong in a line, and below it why."""
        verdict, context = self.verdict, self.context
        if verdict.status is not Status.FAIL:
            first = headline(
                verdict, context.title, self.outcome, context.place, context.blame, self.listeners
            )
            return wrapped(first, hang="  ", max_lines=_PARAGRAPH)
        first = statement(verdict, context.title, context.place, self.listeners)
        lines = wrapped(first, hang="  ", max_lines=_PARAGRAPH)
        near = next((closest(finding) for group in groups[:1] for finding in group.in_full), "")
        cause = setback(verdict, self.outcome, context.blame) or (groups[0].cause if groups else "")
        why = f"cause: {cause}" if cause else near
        return lines + (wrapped(why, "  ", "    ", max_lines=_PARAGRAPH) if why else [])

    def in_full(self, finding: Finding, hints: set[str]) -> list[str]:
        """Return a finding in full, with its hint unless that is among those given already."""
        hint = advice_or_fault(finding, self.outcome)
        hint = "" if hint in hints else hint
        hints.add(hint)
        words = words_of(finding)
        place = self.context.place(finding.path)
        remedy = self.context.remedies.get(finding.path)
        lines = [] if place is None else [str(place), *place.excerpt]
        rows = [
            ["expected", f"{about(finding, self.listeners)}: {words.expected}"],
            ["seen", words.seen + self._end(finding)],
            ["differs", words.differs],
            ["skipped" if finding.status is Status.SKIPPED else "reason", words.reason],
            ["closest", words.closest],
            ["why", finding.why],
            ["known as", words.known_defect],
            ["hint", hint],
            ["passes", remedy.words if remedy is not None else ""],
        ]
        lines += columns([row for row in rows if row[1]], "  ", max_lines=_PARAGRAPH)
        if finding.evidence:
            lines += self._evidence(finding)
        return lines

    def _end(self, finding: Finding) -> str:
        """Return that Envoy had ended, where a finding does not say so itself."""
        if self.outcome.running or about_process(finding):
            return ""
        ended = setback(self.verdict, self.outcome)
        return f" (Envoy {end_in_words(self.outcome)} before that)" if ended else ""

    def _evidence(self, finding: Finding) -> list[str]:
        rows = [
            [
                self.clock.text(event.ts_ns),
                thread_label(self.graph, event.tid),
                fd_label(event),
                render_call(event),
            ]
            for event in finding.evidence[:_EVIDENCE]
        ]
        lines = columns([["time", "thread", "fd", "call"], *rows], "  ")
        if len(finding.evidence) > _EVIDENCE:
            # How many more there are is not known here: a finding keeps the first few.
            where = (
                f": envoyassert show {self.context.trace_path}" if self.context.trace_path else ""
            )
            lines.append(f"  … and more{where}")
        return lines

    def in_short(self, group: _Group, reasons: list[Reason | None]) -> list[str]:
        """Return findings in short; those INCONCLUSIVE for one of `reasons` do not repeat it."""
        if not group.in_short:
            return []
        title = "also by this cause:" if group.cause else "also:"
        if group.cause and not group.in_full:
            title = f"also, by another cause ({group.cause_in_brief}):"
        lines = ["", *wrapped(title, hang="  ")]
        for finding in group.in_short[:_IN_SHORT]:
            place = self.context.place(finding.path)
            where = f"{place}: " if place is not None else ""
            said = sentence(finding, self.listeners)
            if finding.reason and finding.reason in reasons:
                what = about(finding, self.listeners)
                said = f"{what}: INCONCLUSIVE for the same reason"
            lines += wrapped(f"{where}{said}", "  ", "    ", max_lines=_PARAGRAPH)
        if len(group.in_short) > _IN_SHORT:
            command = self.context.everything_command
            how = f"; all in full: {command}" if command else ""
            lines.append(f"  … and {len(group.in_short) - _IN_SHORT} more{how}")
        return lines


def _other_statuses(verdict: Verdict) -> list[str]:
    others = [
        f"{len(verdict.with_status(status))} {status.value}"
        for status in Status
        if status is not verdict.status and verdict.with_status(status)
    ]
    return ["", f"other findings: {', '.join(others)}"] if others else []


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
    if not outcome.running:
        facts.append(end_in_words(outcome, was=""))
    return "run: " + ", ".join(facts)


def _paths(context: RunContext, many: bool) -> list[str]:
    lines = []
    if context.trace_path:
        lines.append(f"trace: {context.trace_path}")
    if context.log_path:
        lines.append(f"log: {context.log_path}")
    if context.replay_command:
        lines.append(f"replay: {context.replay_command}")
    if context.replay_command and many:
        lines.append(f"shrink: {context.replay_command} --shrink few.ndjson")
    return lines
