"""Judge expectations against a trace.

What is a known defect of Envoy is excused at the end: a failure that is expected, and a success
that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from envoyassert.errors import guarded
from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import (
    BEARABLE,
    CHANNELS_CHECK,
    CONTESTED,
    CONTRADICTIONS,
    LOSSES,
    SECOND_CHECK,
)
from envoyassert.judge.context import NOT_JUDGED, Context, Joined, Subject, TooMuchError, Work
from envoyassert.judge.left_open import (
    as_excerpt,
    as_handed_on,
    as_observed,
    as_of_state,
    held_back,
    in_doubt,
    passed_outside,
    with_passes,
    with_stacks,
)
from envoyassert.judge.scopes import Scopes, certify_phases, in_phases_meant, is_judged, judge_steps
from envoyassert.judge.values import Certified, Fact, Quote, Reason, Scope, Topic, fault
from envoyassert.judge.variables import UnresolvedError, resolved
from envoyassert.judge.verdict import Certificate, Finding, Status, Verdict, worst
from envoyassert.scenario.conditional import ENVOY_CONDITION, Conditional
from envoyassert.trace import Phase, Trace
from envoyassert.versions import satisfies
from envoyassert.words.process import ProcessExpectation
from envoyassert.words.registry import WORDS, subject_of, word_of


def judge(
    trace: Trace,
    expectations: Iterable[tuple[int, Conditional]],
    *,
    workers: int,
    assume: tuple[str, ...] = (),
    graph: SocketGraph | None = None,
) -> Verdict:
    """Judge a trace.

    Args:
        trace: what was observed.
        expectations: pairs of an expectation's place in the scenario and the expectation.
        workers: the number of workers that was asked for; `--concurrency 0` means 1 to Envoy.
        assume: what the scenario takes for granted about a trace that did not observe it.
        graph: the trace folded already, if it is at hand.

    Returns:
        A verdict with a finding per atom; no expectations at all are INCONCLUSIVE, never PASS.
    """
    if graph is None:
        graph = fold(trace)
    graphs: dict[str, SocketGraph] = {}
    items = [
        (index, item) for index, given in expectations for item in in_phases_meant(given, trace)
    ]
    parts = [part for number in range(len(items)) for part in _parts(number, *items[number], trace)]
    said = [part.item for part in parts]
    certificate = certify_phases(trace, graph, assume, graphs, said)
    context_of = _context_maker(trace, certificate, workers)
    scopes = Scopes(trace, graph, graphs, context_of, said)
    found: dict[int, list[Finding]] = {}
    # What closes the world needs the variables of all others.
    for part in sorted(parts, key=lambda part: word_of(part.item).closes_world):
        if part.asked:
            found.setdefault(part.number, []).extend(_of_part(scopes, part))
    version = trace.header.envoy.version
    findings = [
        finding
        for number, (index, item) in enumerate(items)
        for finding in with_known_defect(found.get(number, ()), index, item, version)
    ]
    if items and not findings:
        findings = [_nothing_applies(scopes.whole, items[0])]
    findings.sort(key=lambda finding: finding.path[1])
    # Each word is asked, and so loaded, where there were steps of which something may be said.
    words = WORDS.values() if trace.phases else ()
    unsaid = [f for word in words for f in word.unsaid(scopes.whole, said)]
    steps = with_fatal_defects(judge_steps(scopes.whole), trace, items, findings)
    findings = [*steps, *unsaid, *findings]
    findings = as_excerpt(findings, trace.header.excerpt)
    statuses = [finding.status for finding in findings] or [Status.INCONCLUSIVE]
    assumed = assume if set(trace.header.unobserved) - BEARABLE else ()
    return Verdict(worst(statuses), tuple(findings), certificate, assumed)


class _Part(NamedTuple):
    """An expectation as it is judged: itself, or one of those that it stands for.

    Args:
        number: which one of all it is, or is part of.
        place: where it stands in the scenario.
        of: the expectation as written.
        item: what is judged.
        name: what that is about, if the expectation stands for it; None for itself.
        asked: whether it is judged.
    """

    number: int
    place: int
    of: Conditional
    item: Conditional
    name: str | None = None
    asked: bool = True


def _parts(number: int, index: int, item: Conditional, trace: Trace) -> Iterator[_Part]:
    yield _Part(number, index, item, item)
    if is_judged(item, trace):
        for one in word_of(item).stands_for(item, trace):
            yield _Part(number, index, item, one.item, one.name, one.asked)


def _of_part(scopes: Scopes, part: _Part) -> Iterator[Finding]:
    """Judge a part; what an expectation stands for has its findings below the expectation."""
    for finding in _judged(scopes, part.place, part.item):
        if part.name is None:
            yield finding
            continue
        word = word_of(part.of).name
        yield replace(
            finding,
            path=("expect", part.place, word, *filter(None, (part.name,)), *finding.path[2:]),
            code=f"{word}.{finding.code}",
            subject=replace(finding.subject, name=finding.subject.name or part.name),
        )


def _context_maker(
    trace: Trace, certificate: Certificate, workers: int
) -> Callable[[Trace, SocketGraph], Context]:
    """Return what makes the context of a part of a trace and what that folds into.

    What is in doubt at one time is in doubt at all: a loss may be of any phase.
    """
    doubt = _failed(certificate, LOSSES)
    # After a loss kernel, Envoy and strace know more than the trace: that is the loss again.
    knowing = (KERNEL_CHECK, SECOND_CHECK) if doubt else ()
    contradictions = tuple(name for name in CONTRADICTIONS if name not in knowing)
    # A variable joins what it names at the end of one phase with what it names at another.
    variables: dict[str, Joined] = {}
    return partial(
        Context,
        workers=workers,
        doubt=doubt,
        untrusted=_failed(certificate, contradictions),
        contested=None if doubt else _failed(certificate, CONTESTED),
        unobserved=_failed(certificate, (CHANNELS_CHECK,)),
        by_listen="epoll" in trace.header.unobserved,
        uncompared={} if doubt else certificate.uncompared,
        variables=variables,
        work=Work(),
    )


def _judged(scopes: Scopes, index: int, item: Conditional) -> Iterator[Finding]:
    """Judge one item; a fault of ours leaves it open, and the others judged."""

    def left_open(reason: Reason) -> list[Finding]:
        return [_not_judged(scopes.whole, index, item, Fact("a_judgement"), reason)]

    def found() -> list[Finding]:
        try:
            return list(_findings(scopes, index, item))
        except TooMuchError as error:
            return left_open(Fact("too_much_work", most=error.args[0]))

    yield from guarded(found, lambda said: left_open(fault(said)))


def _not_judged(
    context: Context, index: int, item: Conditional, wanted: Fact, reason: Reason
) -> Finding:
    """Return the one finding of an item of which nothing can be judged."""
    subject = Subject(Topic("item", subject_of(item) or ""), ("expect", index), item.why or "")
    return context.finding(subject, Status.INCONCLUSIVE, wanted, NOT_JUDGED, reason=reason)


def _findings(scopes: Scopes, index: int, item: Conditional) -> Iterator[Finding]:
    """Judge one item in its scope, if it is about the version of Envoy that ran."""
    context = scopes.whole
    version = context.trace.header.envoy.version
    if item.versions and not version:
        place = ("expect", index, "when", ENVOY_CONDITION)
        subject = Subject(Topic("when"), place, item.why or "")
        yield context.finding(
            subject,
            Status.INCONCLUSIVE,
            Fact("judged_for", versions=item.versions),
            NOT_JUDGED,
            reason=Fact("version_unknown"),
        )
    elif is_judged(item, context.trace):
        try:
            asked, item = item, resolved(item, context)
        except UnresolvedError as problem:
            yield _not_judged(context, index, item, Fact("a_variable"), problem.reason)
            return
        scope = scopes.of(item)
        if scope is None:
            yield scopes.not_reached(index, item)
            return
        word = word_of(item)
        if word.closes_world:
            scope = scopes.with_named(scope)
        scoped = _scope_of(item, bool(context.trace.phases))
        outside = passed_outside(scope, item)
        scope = in_doubt(scope, outside)
        found = list(held_back(scope, item, word.judge(scope, index, item)))
        unobserved = context.trace.header.unobserved
        for one in with_stacks(scope, item, found):
            known = as_of_state(scope, one, item, joined=item is not asked)
            known = as_handed_on(scope, known, item)
            finding = with_passes(as_observed(known, item, unobserved), outside)
            yield finding if scoped is None else replace(finding, scope=scoped)


def _scope_of(item: Conditional, has_steps: bool) -> Scope | None:
    at_end_of = item.at_end_of if item.during is None else None
    phase = item.during is not None or at_end_of is not None
    whole = not phase and item.says_none and has_steps
    scope = Scope(item.envoy, item.during, at_end_of, whole)
    return None if scope == Scope() else scope


def _nothing_applies(context: Context, first: tuple[int, Conditional]) -> Finding:
    """Return the finding that no expectation is about the version that ran."""
    version = context.trace.header.envoy.version
    return context.finding(
        Subject(Topic("when"), ("expect", first[0], "when", ENVOY_CONDITION)),
        Status.INCONCLUSIVE,
        Fact("some_expectation"),
        Fact("none"),
        reason=Fact("nothing_applies", version=version),
    )


def _failed(certificate: Certificate, names: tuple[str, ...]) -> Certified | None:
    """Return which of these checks failed as a reason, None if none did."""
    found = [c for c in certificate.missing if c.name in names]
    return Certified(tuple((c.name, c.found) for c in found)) if found else None


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
