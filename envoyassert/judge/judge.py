"""Judge expectations against a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from envoyassert.graph.fold import fold
from envoyassert.graph.model import SocketGraph
from envoyassert.guard import guarded
from envoyassert.judge.account_checks import KERNEL_CHECK
from envoyassert.judge.certificate import (
    BEARABLE,
    CHANNELS_CHECK,
    CONTESTED,
    CONTRADICTIONS,
    LOSSES,
    SECOND_CHECK,
)
from envoyassert.judge.context import NOT_JUDGED, Context, Subject
from envoyassert.judge.excerpt import as_excerpt
from envoyassert.judge.known_defect import with_fatal_defects, with_known_defect
from envoyassert.judge.left_open import (
    as_observed,
    held_back,
    in_doubt,
    passed_outside,
    with_passes,
    with_stacks,
)
from envoyassert.judge.of_state import as_of_state
from envoyassert.judge.scopes import Scopes, certify_phases, is_judged, judge_steps
from envoyassert.judge.values import (
    Certified,
    Fact,
    Reason,
    Scope,
    Topic,
    fault,
)
from envoyassert.judge.variables import UnresolvedError, resolved
from envoyassert.judge.verdict import Certificate, Finding, Status, Verdict, worst
from envoyassert.judge.work import Joined, TooMuchError, Work
from envoyassert.scenario.conditional import ENVOY_CONDITION, Conditional
from envoyassert.trace import Trace
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
    items = list(expectations)
    certificate = certify_phases(trace, graph, assume, graphs, [item for _, item in items])
    context_of = _context_maker(trace, certificate, workers)
    scopes = Scopes(trace, graph, graphs, context_of, [item for _, item in items])
    # What closes the world needs the variables of all others.
    order = sorted(items, key=lambda item: word_of(item[1]).closes_world)
    version = trace.header.envoy.version
    findings = [
        finding
        for index, item in order
        for finding in with_known_defect(_judged(scopes, index, item), index, item, version)
    ]
    if items and not findings:
        findings = [_nothing_applies(scopes.whole, items[0])]
    findings.sort(key=lambda finding: finding.path[1])
    said = [item for _, item in items]
    unsaid = [f for word in WORDS.values() for f in word.unsaid(scopes.whole, said)]
    steps = with_fatal_defects(judge_steps(scopes.whole), trace, items, findings)
    findings = [*steps, *unsaid, *findings]
    findings = as_excerpt(findings, trace.header.excerpt)
    statuses = [finding.status for finding in findings] or [Status.INCONCLUSIVE]
    assumed = assume if set(trace.header.unobserved) - BEARABLE else ()
    return Verdict(worst(statuses), tuple(findings), certificate, assumed)


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
