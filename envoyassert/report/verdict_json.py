"""A verdict as JSON types. The classes are the published format; their schema is made from them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from envoyassert.graph.model import SocketGraph
from envoyassert.judge.value_json import to_json
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.report.advice import advice_or_fault
from envoyassert.report.call import Clock, render_call, thread_label
from envoyassert.report.changes import change_words
from envoyassert.report.failure import RunContext
from envoyassert.report.parts import DocumentPart, Location, StatusWord
from envoyassert.steps.registry import unasked_outcome
from envoyassert.texts.facts import text
from envoyassert.texts.findings import words_of
from envoyassert.trace import Outcome, Trace

FindingStatusWord = Literal["PASS", "FAIL", "KNOWN_DEFECT", "INCONCLUSIVE", "SKIPPED"]


class EvidencePart(DocumentPart):
    """One event that shows what was found."""

    at_ms: float | None = Field(
        description="Milliseconds since Envoy's first instruction; null in a trace without times."
    )
    pid: int = Field(description="Process.")
    tid: int = Field(description="Thread.")
    thread: str = Field(description="`main`, `worker_<i>`, or another thread's name.")
    call: str = Field(description="The call as strace prints it: `bind(22, 0.0.0.0:80) = 0`.")
    stack: tuple[str, ...] = Field(description="Frames of its stack, innermost first, if recorded.")


class RemedyPart(DocumentPart):
    """What would make an atom hold."""

    scenario: str = Field(description="The change of the scenario, in words; it was tried.")
    path: tuple[str | int, ...] = Field(description="Where the value stands that is changed.")
    before: object = Field(description="The value that failed; null if the scenario has none.")
    after: Any = Field(description="The value that holds on the same trace.")
    config: str = Field(description="What to set in the config instead, not tried; may be empty.")


class ValuesPart(DocumentPart):
    """A finding as typed values. Each has a `kind`; one of the kind `fact` has a `code`."""

    subject: dict[str, Any] = Field(description="What it is about: its `kind`, and who it is.")
    wanted: dict[str, Any] = Field(description="What was asked for: `count`, `by`, `fact`, …")
    seen: dict[str, Any] = Field(description="What was observed: `number`, `threads`, `fact`, …")
    scope: dict[str, object] | None = Field(
        description="The part of the run that it is confined to; null: none."
    )
    reason: dict[str, Any] | None = Field(
        description="Why it could not be decided: a `fact`, or the checks that failed "
        "(`certified`); null unless INCONCLUSIVE or SKIPPED."
    )
    near: tuple[dict[str, Any], ...] = Field(
        description="What came closest to what is not there; `differs` has each field, `seen` and "
        "`wanted`."
    )
    cause: dict[str, object] | None = Field(description="What a FAIL means; null if not known.")
    known_defect: dict[str, object] | None = Field(
        description="The defect that explains it; null unless KNOWN_DEFECT."
    )


class WordsPart(DocumentPart):
    """A finding in words."""

    subject: str = Field(description="What it is about: `port 15006`, `process`.")
    expected: str = Field(description="What was asked for.")
    seen: str = Field(description="What was observed.")
    reason: str = Field(
        description="Why it could not be decided; empty unless INCONCLUSIVE or SKIPPED."
    )
    closest: str = Field(
        description="What came closest to what is not there, field by field; may be empty."
    )
    hint: str = Field(description="What it means and what to do; may be empty.")
    known_defect: str = Field(description="The defect that explains it; empty unless KNOWN_DEFECT.")


class FindingPart(DocumentPart):
    """The answer to one atom of one expectation."""

    status: FindingStatusWord = Field(
        description="SKIPPED: this build of Envoy cannot show it, as it has no symbols."
    )
    path: tuple[str | int, ...] = Field(
        description="Where the atom stands in the scenario's data: `expect`, 0, `bound`, `times`."
    )
    code: str = Field(
        description="What was asked, by the words of the language: `bound.times`, `options`."
    )
    atom: str = Field(
        description="Dotted name of the atom with the scenario's own names: `options.SO_REUSEPORT`."
    )
    why: str = Field(description="The scenario's own `why`; may be empty.")
    values: ValuesPart = Field(description="The finding as typed values, for programs.")
    words: WordsPart = Field(
        description="The same for people; the texts may change with any version."
    )
    remedy: RemedyPart | None = Field(
        description="The smallest change by which it would hold; null if none was found."
    )
    location: Location | None = Field(description="Where the scenario file says it.")
    evidence: tuple[EvidencePart, ...] = Field(description="The few events that show it.")


class CheckPart(DocumentPart):
    """One line of the certificate."""

    name: str
    ok: bool | None = Field(description="null: does not apply to this trace.")
    detail: str = Field(description="What was found, in words.")
    found: dict[str, Any] = Field(description="The same as values: a `code` with its details.")


class Judgement(DocumentPart):
    """What a run was judged to be."""

    status: StatusWord = Field(
        description="FAIL if any finding is, else INCONCLUSIVE if any, else KNOWN_DEFECT if any."
    )
    assumed: tuple[str, ...] = Field(
        description="What the scenario takes for granted and the verdict relies on."
    )
    findings: tuple[FindingPart, ...] = Field(description="One per atom, in the scenario's order.")
    certificate: tuple[CheckPart, ...] = Field(description="What is known of completeness.")


class Unconstrained(DocumentPart):
    """What no expectation is about."""

    listeners: tuple[str, ...] = Field(description="Listeners of the config, by name.")
    sockets: tuple[str, ...] = Field(description="Listening sockets that were seen, by address.")
    options: tuple[str, ...] = Field(description="Options that were set, each with its socket.")


class VerdictDocument(Judgement):
    """What `envoyassert replay --format json` prints."""

    format: Literal["envoyassert-verdict/2"] = "envoyassert-verdict/2"
    run: str = Field(description="The run: `reuse_port[concurrency=2]`.")
    unconstrained: Unconstrained | None = Field(
        description="What no expectation is about; null unless `--coverage` asked for it."
    )


def judgement(
    verdict: Verdict, trace: Trace, graph: SocketGraph, context: RunContext | None = None
) -> Judgement:
    """Return a verdict with every finding, its evidence and the certificate.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: its socket graph.
        context: places in the scenario file.
    """
    context = context or RunContext()
    clock, outcome = Clock(trace), unasked_outcome(trace)
    return Judgement(
        status=verdict.status.value,
        assumed=verdict.assumed,
        findings=tuple(
            _finding(finding, graph, clock, context, _hint(finding, outcome))
            for finding in verdict.findings
        ),
        certificate=tuple(
            CheckPart(
                name=check.name,
                ok=check.ok,
                detail=text(check.found),
                found=to_json(check.found),
            )
            for check in verdict.certificate.checks
        ),
    )


def _hint(finding: Finding, outcome: Outcome) -> str:
    return "" if finding.status is Status.PASS else advice_or_fault(finding, outcome)


def verdict_json(
    verdict: Verdict,
    trace: Trace,
    graph: SocketGraph,
    context: RunContext,
    unconstrained: Unconstrained | None = None,
) -> dict[str, Any]:
    """Return a verdict as a document of JSON types; arguments as `judgement`, and what no
    expectation is about, if that was asked for.
    """
    parts = dict(judgement(verdict, trace, graph, context))
    document = VerdictDocument(run=context.title, unconstrained=unconstrained, **parts)
    return document.model_dump(mode="json")


def _finding(
    finding: Finding, graph: SocketGraph, clock: Clock, context: RunContext, hint: str
) -> FindingPart:
    place = context.place(finding.path)
    remedy = context.remedies.get(finding.path)
    words = words_of(finding)
    return FindingPart(
        status=finding.status.value,
        path=finding.path,
        code=finding.code,
        atom=finding.atom,
        why=finding.why,
        values=_values(finding),
        words=WordsPart(
            subject=words.subject,
            expected=words.expected,
            seen=words.seen,
            reason=words.reason,
            closest=words.closest,
            hint=hint,
            known_defect=words.known_defect,
        ),
        remedy=None
        if remedy is None or remedy.change is None
        else RemedyPart(
            scenario=change_words(remedy.change),
            path=remedy.change.path,
            before=remedy.change.before,
            after=remedy.change.after,
            config=remedy.config,
        ),
        location=None
        if place is None
        else Location(file=place.path, line=place.line, column=place.column),
        evidence=tuple(
            EvidencePart(
                at_ms=clock.ms(event.ts_ns),
                pid=event.pid,
                tid=event.tid,
                thread=thread_label(graph, event.tid),
                call=render_call(event),
                stack=event.stack,
            )
            for event in finding.evidence
        ),
    )


def _values(finding: Finding) -> ValuesPart:
    return ValuesPart(
        subject=to_json(finding.subject),
        wanted=to_json(finding.wanted),
        seen=to_json(finding.seen),
        scope=to_json(finding.scope),
        reason=to_json(finding.reason),
        near=to_json(finding.near),
        cause=to_json(finding.cause),
        known_defect=to_json(finding.known_defect),
    )
