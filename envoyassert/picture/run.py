"""All of one run that a format draws: verdict, findings, maps, timeline, steps, certificate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from envoyassert.graph.cut import cut
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.scopes import certify_phases, listeners_over
from envoyassert.judge.verdict import Certificate, Finding, Status, Verdict
from envoyassert.picture.connections import Connections, connections
from envoyassert.picture.expected import expected_map
from envoyassert.picture.map_parts import MapListener, SocketMap
from envoyassert.picture.socket_map import socket_map
from envoyassert.picture.steps import StoryStep, start_steps
from envoyassert.picture.timeline import Timeline, timeline
from envoyassert.report.advice import advice_or_fault
from envoyassert.report.call import Clock
from envoyassert.report.certificate import certificate_line
from envoyassert.report.changes import changed, plain
from envoyassert.report.envoy_log import said_lines
from envoyassert.report.failure import RunContext
from envoyassert.report.headline import about, about_process, reason_line
from envoyassert.report.table import count
from envoyassert.steps.registry import unasked_outcome
from envoyassert.texts.fact_words import other_shape, shape_alone
from envoyassert.texts.facts import text
from envoyassert.texts.findings import Words, config_field, outcome_in_words, words_of
from envoyassert.trace import ATTACHED, Outcome, Trace
from envoyassert.words.remedy import Change

#: Those that want attention come first.
_ORDER = (Status.FAIL, Status.INCONCLUSIVE, Status.KNOWN_DEFECT, Status.SKIPPED, Status.PASS)


@dataclass(frozen=True)
class PictureFinding:
    """The answer to one atom of an expectation.

    Args:
        id: `f0`, in the order of the scenario.
        status: of it.
        about: what it is about: `port 15006 bound.times`.
        words: what was expected and seen, and more.
        cause: what caused it, code in back quotes; "" if that is not known.
        hint: what to do.
        why: the scenario's own `why`.
        place: `reuse_port.yaml:12:5`, or "".
        remedy: the smallest change of the scenario with which it would hold, or "".
        remedy_config: the field of Envoy's config, or "".
        calls: places of the calls that show it, in the events of the trace.
        map: the map of the moment that it is about.
        listener: the listener as it is there, None if it is about none, or about several.
        expected: what was asked of it as a map, None where that is not known.
    """

    id: str
    status: Status
    about: str
    words: Words
    cause: str
    hint: str
    why: str
    place: str
    remedy: str
    remedy_config: str
    calls: tuple[int, ...]
    map: SocketMap
    listener: MapListener | None
    expected: SocketMap | None


@dataclass(frozen=True)
class PictureCheck:
    """One line of the certificate: `ok` is None where it does not apply."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class RunPicture:
    """One run.

    Args:
        title: the run: `reuse_port[concurrency=2]`, or the name of the trace.
        status: its verdict, None where nothing was judged.
        headline: the verdict in one line, or what the run is.
        facts: (name, value) of Envoy, kernel, launcher and the like.
        findings: those that want attention first, else in the order of the scenario.
        maps: of the end of each phase in which the map differs from the one before, and of the end.
        timeline, steps, connections: as their modules say.
        certificate: every check.
        certificate_line: the same in one line.
        whole: whether nothing of it is missing.
        assumed: what the verdict takes for granted.
        said: what Envoy said of its end or of what failed, as lines.
    """

    title: str
    status: Status | None
    headline: str
    facts: tuple[tuple[str, str], ...]
    findings: tuple[PictureFinding, ...]
    maps: tuple[SocketMap, ...]
    timeline: Timeline
    steps: tuple[StoryStep, ...]
    connections: Connections
    certificate: tuple[PictureCheck, ...]
    certificate_line: str
    whole: bool
    assumed: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def map(self) -> SocketMap:
        """The map of the end."""
        return self.maps[-1]

    def with_status(self, status: Status) -> tuple[PictureFinding, ...]:
        """Return the findings of one status."""
        return tuple(finding for finding in self.findings if finding.status is status)


def run_picture(
    trace: Trace,
    graph: SocketGraph,
    verdict: Verdict | None = None,
    context: RunContext | None = None,
    *,
    title: str = "",
) -> RunPicture:
    """Return all of a run that a format draws.

    Args:
        trace: the trace.
        graph: what it folds into.
        verdict: the judgement of it, if there is one.
        context: places in the scenario, remedies and the like, if there is one.
        title: what the run is called, where neither the context nor the trace says it.
    """
    context = context or RunContext()
    graphs: dict[str, SocketGraph] = {}
    certificate = certify_phases(trace, graph, graphs=graphs)
    if verdict is not None:
        certificate = verdict.certificate
    phases = {
        phase.name: socket_map(
            cut(trace, phase), graphs[phase.name], verdict, when=f"at the end of {phase.name}"
        )
        for phase in trace.phases
        if phase.name in graphs
    }
    end = socket_map(trace, graph, verdict)
    line = timeline(trace, graph, verdict)
    name = context.title or _title(trace) or title
    outcome = unasked_outcome(trace)
    findings = (
        () if verdict is None else tuple(_findings(verdict, end, phases, line, context, trace))
    )
    first = _describe(trace)
    if verdict is not None:
        listeners = listeners_over(trace)
        first = reason_line(verdict, outcome, context.place, context.blame, listeners) or (
            f"{count(len(verdict.findings), 'finding')}, and all hold"
        )
    return RunPicture(
        name,
        None if verdict is None else verdict.status,
        first,
        tuple(_facts(trace)),
        tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.status))),
        (*_changing([*phases.values(), end]), end),
        line,
        start_steps(trace, graph),
        connections(trace, graph),
        tuple(_checks(certificate)),
        certificate_line(certificate),
        certificate.whole,
        () if verdict is None else verdict.assumed,
        tuple(said_lines(outcome, captured=trace.header.launcher != ATTACHED)),
    )


def _checks(certificate: Certificate) -> Iterator[PictureCheck]:
    for check in certificate.checks:
        yield PictureCheck(check.name, check.ok, text(check.found))


def _changing(maps: list[SocketMap]) -> Iterator[SocketMap]:
    """Yield each map that is not as the next one."""
    for one, following in pairwise(maps):
        if _shape(one) != _shape(following):
            yield one


def _shape(picture: SocketMap) -> object:
    """Return of a map what one would see change."""
    found: list[object] = []
    for listener in picture.listeners:
        found.append((listener.name, listener.address, listener.marks))
        for socket in listener.sockets:
            held = [(one.id, one.open, one.threads) for one in socket.descriptors]
            found.append((socket.id, socket.state, socket.backlog, held))
    return found


def _findings(
    verdict: Verdict,
    end: SocketMap,
    phases: dict[str, SocketMap],
    line: Timeline,
    context: RunContext,
    trace: Trace,
) -> Iterator[PictureFinding]:
    groups: dict[tuple[str | int, ...], list[Finding]] = {}
    for finding in verdict.findings:
        groups.setdefault(_group(finding), []).append(finding)
    outcome, listeners = unasked_outcome(trace), listeners_over(trace)
    for number, finding in enumerate(verdict.findings):
        moment = finding.scope.at_end_of if finding.scope is not None else None
        there = phases.get(moment or "", end)
        listener = _listener(finding, there)
        expected = None
        if listener is not None and finding.status is not Status.PASS:
            expected = expected_map(groups[_group(finding)], listener, listener.workers)
        place = context.place(finding.path)
        remedy = context.remedies.get(finding.path)
        changed = remedy is not None and remedy.change is not None
        yield PictureFinding(
            f"f{number}",
            finding.status,
            about(finding, listeners) or ("process" if about_process(finding) else finding.code),
            words_of(finding),
            *_cause_and_hint(finding, outcome),
            finding.why,
            "" if place is None else str(place),
            _in_place(remedy.change) if remedy is not None and remedy.change else "",
            remedy.config if remedy is not None and changed else "",
            line.evidence.get(finding.path, ()),
            there,
            listener,
            expected,
        )


def _cause_and_hint(finding: Finding, outcome: Outcome) -> tuple[str, str]:
    """Return what caused a finding, and what to do about it, each "" if that is not known."""
    if finding.status is Status.PASS:
        return "", ""
    if finding.cause is not None and finding.cause.code == "shape":
        field = config_field(finding)
        text = shape_alone(finding.cause)
        return text.replace(field, f"`{field}`", 1) if field else text, other_shape(finding.cause)
    return "", advice_or_fault(finding, outcome)


def _in_place(change: Change) -> str:
    """Return `bound: {times: 1}` in place of `workers`."""
    now = changed(change)
    return now if change.before is None else f"{now} in place of `{plain(change.before)}`"


def _group(finding: Finding) -> tuple[str | int, ...]:
    """Return what the findings of one expectation about one address have in common."""
    return (*finding.path[:2], finding.subject.address)


def _listener(finding: Finding, end: SocketMap) -> MapListener | None:
    """Return the one listener of the map that a finding is about, None if that is not clear."""
    found = [one for one in end.listeners if finding.path in one.findings]
    return found[0] if len(found) == 1 else None


def _title(trace: Trace) -> str:
    matrix = ",".join(f"{key}={value}" for key, value in trace.header.matrix.items())
    return f"{trace.header.scenario}[{matrix}]" if matrix else trace.header.scenario


def _describe(trace: Trace) -> str:
    """Return what a run without a verdict is, in one line."""
    version = trace.header.envoy.version
    envoy = f"Envoy {version}" if version else "Envoy of unknown version"
    return f"{envoy}, {count(len(trace.events), 'recorded call')}, not judged"


def _facts(trace: Trace) -> Iterator[tuple[str, str]]:
    header, clock = trace.header, Clock(trace)
    envoy = header.envoy
    yield "Envoy", envoy.version or "unknown version"
    if envoy.build_id:
        yield "Build id", envoy.build_id[:16]
    if envoy.image_digest:
        yield "Image", envoy.image_digest
    yield "Started by", header.launcher or "not known"
    yield "Workers", str(header.concurrency) if header.concurrency else "not known"
    if header.kernel:
        yield "Kernel", header.kernel
    yield "Recorded by", header.tracer or "a log, or an edited trace"
    last = clock.ms(trace.events[-1].ts_ns) if trace.events else None
    span = "" if last is None else f", the last one at {last:.1f} ms"
    yield "Calls", f"{len(trace.events)}{span}"
    yield "Envoy's result", outcome_in_words(trace.end.outcome)
    for key, value in header.where.items():
        yield key.replace("_", " ").capitalize(), value
    if header.unobserved:
        yield "Not observed", ", ".join(header.unobserved)
    for one in header.stood_in:
        yield "Replaced", one
