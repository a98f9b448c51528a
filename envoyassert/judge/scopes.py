"""Which part of a run an expectation is about: the end of a phase, or what was done during one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from envoyassert.graph.cut import cut, focus
from envoyassert.graph.fold import fold
from envoyassert.graph.kinds import family_of
from envoyassert.graph.model import KernelSocket, SocketGraph
from envoyassert.judge.account_checks import (
    KERNEL_CHECK,
    check_accounts,
    uncompared,
    with_uncompared,
)
from envoyassert.judge.certificate import certify
from envoyassert.judge.context import Context, Subject
from envoyassert.judge.selection import Selection, select
from envoyassert.judge.settled import KernelComparison
from envoyassert.judge.values import Fact, Quote, Topic, both
from envoyassert.judge.variables import UnresolvedError, resolved
from envoyassert.judge.verdict import Certificate, Check, Finding, Status
from envoyassert.scenario.conditional import AboutListener, Conditional
from envoyassert.scenario.grammar import models_in
from envoyassert.scenario.selector import Selector
from envoyassert.trace import ATTACHED, EACH, FIRST, LAST, STARTUP, ListenerRecord, Trace
from envoyassert.versions import satisfies
from envoyassert.words.of_listener.listed_without_socket import unbacked

#: What is compared at the end of each phase; the other checks are about the trace as a whole.
#: Makes the context of a trace and its graph.
ContextMaker = Callable[[Trace, SocketGraph], Context]


def in_phases_meant(item: Conditional, trace: Trace) -> list[Conditional]:
    """Return an expectation once for each phase that it is about.

    Of an Envoy that was attached to, phases may be meant by their kind, or all of them.

    Args:
        item: the expectation.
        trace: the whole trace.
    """
    name = item.during or item.at_end_of
    phases = {phase.name: phase.kind for phase in trace.phases} or {STARTUP: STARTUP}
    if name is None or name in phases or trace.header.launcher != ATTACHED:
        return [item]
    meant = [one for one, kind in phases.items() if name in (kind, EACH)]
    if name == LAST:
        meant = [*phases][-1:]
    word = "at_end_of" if item.during is None else "during"
    return [item.model_copy(update={word: one}) for one in meant] or [item]


def certify_phases(
    trace: Trace,
    graph: SocketGraph,
    assume: tuple[str, ...] = (),
    graphs: dict[str, SocketGraph] | None = None,
    items: Sequence[Conditional] = (),
) -> Certificate:
    """Certify a trace, and hold it against the accounts taken at the end of each of its phases.

    Args:
        trace: the whole trace.
        graph: what it folds into.
        assume: what the scenario takes for granted.
        graphs: if given, filled with what the trace folds into at the end of each phase.
        items: all expectations; they may state what Envoy says of itself.
    """
    certificate = certify(trace, graph, assume, unbacked(trace, items, {STARTUP}, (None, FIRST)))
    checks = {check.name: check for check in certificate.checks}
    open_: dict[KernelSocket, Fact] = {}
    comparisons: list[KernelComparison] = []
    reached: set[str] = set()
    for phase in trace.phases:
        reached.add(phase.name)
        part = cut(trace, phase)
        if graphs is not None:
            graphs[phase.name] = fold(part)
        part = replace(part, events=trace.events)
        # The last one's account is the phase's own.
        own = (None, phase.envoys[-1].name if phase.envoys else FIRST)
        made = [check_accounts(part, graph, unbacked=unbacked(trace, items, reached, own))]
        for member in phase.envoys[:-1]:
            end = replace(part.end, outcome=member.outcome)
            account = replace(part, witness=member.witness, end=end)
            stated = unbacked(trace, items, reached, (member.name,))
            made.append(check_accounts(account, graph, unbacked=stated))
        for check in (check for one in made for check in (one.kernel, one.envoy)):
            checks[check.name] = _worse(checks[check.name], check, phase.name)
        of_phase = [one.comparison for one in made if one.comparison is not None]
        open_.update(uncompared(of_phase))
        comparisons += of_phase
    if not trace.phases:
        return certificate
    checks[KERNEL_CHECK] = with_uncompared(checks[KERNEL_CHECK], open_, comparisons)
    numbers = {socket.number: why for socket, why in open_.items()}
    return Certificate(tuple(checks.values()), numbers)


def _worse(known: Check, check: Check, phase: str) -> Check:
    """Return the check that says more against the trace."""
    if known.ok is False or check.ok is None:
        return known
    at_end = Fact("at_end_of_phase", phase=phase, found=check.found)
    if check.ok is False or known.ok is None:
        return replace(check, found=at_end)
    return replace(known, found=both([known.found, at_end]))


class Scopes:
    """The contexts in which the expectations of one trace are judged.

    Args:
        trace: the whole trace.
        graph: what it folds into.
        graphs: what it folds into at the end of phases, as far as that is known.
        make: makes a context.
        items: all expectations, whose selectors name sockets at the end of whatever phase.
    """

    def __init__(
        self,
        trace: Trace,
        graph: SocketGraph,
        graphs: dict[str, SocketGraph],
        make: ContextMaker,
        items: list[Conditional],
    ) -> None:
        self._trace = trace
        self._make = make
        self._graphs = graphs
        self._phases = {phase.name: phase for phase in trace.phases}
        self._items = items
        self.whole = make(trace, graph)
        # Without steps all of a trace is start-up.
        self._contexts = {STARTUP: self.whole, "": self.whole}
        if trace.phases:
            header = replace(trace.header, listeners=listeners_over(trace))
            run = make(replace(trace, header=header), graph)
            contested = run.contested or _cut_short(trace)
            self._contexts = {"": replace(run, contested=contested)}
        self._windows: dict[tuple[str, str | None, str], Context] = {}

    def of(self, item: Conditional) -> Context | None:
        """Return the context of an expectation; None if its phase was not reached."""
        context = self._ending(item)
        if context is None or item.during not in self._phases:
            return context
        key = (item.phase, item.envoy, item.during)
        if key not in self._windows:
            self._windows[key] = replace(context, window=self._phases[item.during])
        return self._windows[key]

    def _ending(self, item: Conditional) -> Context | None:
        """Return what there is when the phase of an expectation ends, whatever time it limits."""
        phase = self._phases.get(item.phase)
        if phase is not None and phase.problem:
            return None  # what the step was to bring about did not begin
        context = self._at_end_of(item.phase)
        if context is not None and item.envoy is not None:
            context = self._focused(context, item)
        return context

    def _at_end_of(self, name: str) -> Context | None:
        known = self._contexts.get(name)
        if known is not None:
            return known
        phase = self._phases.get(name)
        if phase is None:
            return None
        part = cut(self._trace, phase)
        if name not in self._graphs:
            self._graphs[name] = fold(part)
        context = self._contexts[name] = self._make(part, self._graphs[name])
        return context

    def _focused(self, context: Context, item: Conditional) -> Context | None:
        """Return a context in which one of several Envoys is all there is; None if it is not there.

        To each belongs what it started; to the first of a run, all that is none of the others.
        """
        name = item.envoy or FIRST
        key = f"{item.phase} {name}"
        if key in self._contexts:
            return self._contexts[key]
        members = {m.name: m for phase in context.trace.phases for m in phase.envoys}
        if name != FIRST and name not in members:
            return None
        whole = context.graph
        envoys = frozenset(member.pid for member in members.values())
        families = {
            other: family_of(whole, member.pid, envoys - {member.pid})
            for other, member in members.items()
            if other != FIRST
        }
        pids = families.get(name) or frozenset(whole.processes).difference(*families.values())
        part = context.trace
        member = members.get(name)
        if member is not None:
            part = replace(
                part, witness=member.witness, end=replace(part.end, outcome=member.outcome)
            )
        focused = replace(self._make(part, focus(part, pids)), pids=pids, whole=whole)
        if member is not None:
            focused = replace(focused, workers=member.concurrency)
        self._contexts[key] = focused
        return focused

    def with_named(self, context: Context) -> Context:
        """Return a context with the sockets of it that the scenario names, whenever it asks.

        Over the whole run those count too that are named at the end of a phase: where a port alone
        said which one, it may have become ambiguous since.
        """
        run = self._contexts[""]
        over_run = context is run or context.whole is run.graph
        named: set[int] = set()
        perhaps: set[int] = set()
        numbers: set[int] = set()
        for item in self._items:
            if isinstance(item, AboutListener):
                selection = _selection(context, item.listener)
                named |= {id(socket) for socket in selection.sockets}
                perhaps |= {id(socket) for socket in selection.possible}
            sockets = self._named_by(item)
            named |= {id(socket) for socket in sockets}
            numbers |= {socket.number for socket in sockets}
        if over_run:
            named |= {id(s) for s in context.graph.sockets if s.number in numbers}
        return replace(context, named=frozenset(named), perhaps_named=frozenset(perhaps - named))

    def _named_by(self, item: Conditional) -> list[KernelSocket]:
        """Return the sockets that an expectation names in its own scope."""
        context = self._ending(item) if is_judged(item, self._trace) else None
        if context is None:
            return []
        try:
            said = resolved(item, self.whole)
        except UnresolvedError:
            return []
        selectors = models_in(said, Selector)
        return [socket for one in selectors for socket in _selection(context, one).sockets]

    def not_reached(self, index: int, item: Conditional) -> Finding:
        """Return the finding that the phase of an expectation was not reached."""
        if item.envoy is not None and item.phase in ("", *self._phases):
            return self.whole.finding(
                Subject(Topic("envoy", item.envoy), ("expect", index, "envoy"), item.why or ""),
                Status.INCONCLUSIVE,
                Fact("an_envoy", name=item.envoy),
                Fact("none"),
                reason=Fact("envoy_not_started", phase=item.phase or None),
            )
        word = "during" if item.during else "at_end_of"
        stopped = [phase for phase in self._trace.phases if phase.problem or phase.missed]
        trace = self._trace
        alone = trace.header.launcher == ATTACHED and not trace.phases
        reason = Fact("start_alone" if alone else "no_such_phase")
        if stopped:
            said = Quote(stopped[0].problem or stopped[0].missed)
            reason = Fact("run_ended_before_phase", phase=stopped[0].name, said=said)
        return self.whole.finding(
            Subject(Topic("phase", item.phase), ("expect", index, word), item.why or ""),
            Status.INCONCLUSIVE,
            Fact("the_phase", name=item.phase),
            Fact("not_reached"),
            reason=reason,
        )


def is_judged(item: Conditional, trace: Trace) -> bool:
    """Return whether an expectation is about the version of Envoy that ran, as far as is known."""
    version = trace.header.envoy.version
    return not item.versions or (bool(version) and satisfies(version, item.versions))


def _selection(context: Context, selector: Selector) -> Selection:
    return select(selector, context.graph, context.trace.header.listeners, total=True)


def _cut_short(trace: Trace) -> Fact | None:
    """Return which step a run did not come to, or None."""
    reached = {phase.name for phase in trace.phases if not phase.problem}
    lacking = [name for name in trace.header.steps if name not in reached]
    return Fact("run_ended_before", step=lacking[0]) if lacking else None


def listeners_over(trace: Trace) -> tuple[ListenerRecord, ...]:
    """Return the listeners by the config at any time of a run.

    One that has several addresses one after the other has all of them. They are in the order in
    which they appeared, by which sockets on port 0 are distinguished.

    Args:
        trace: the whole trace, with its phases.
    """
    configs = [trace.header.listeners]
    configs += [phase.listeners for phase in trace.phases if phase.listeners is not None]
    first = Counter((r.name, r.protocol, r.kind) for r in trace.header.listeners)
    found: dict[tuple[str, str, str, int], ListenerRecord] = {}
    for listeners in configs:
        twins: Counter[tuple[str, str, str]] = Counter()
        for record in listeners:
            name = (record.name, record.protocol, record.kind)
            # Another Envoy of the run may have a listener of that name elsewhere.
            key = (*name, min(twins[name], max(first[name] - 1, 0)))
            twins[name] += 1
            before = found.get(key, record).addresses
            more = (Counter(record.addresses) - Counter(before)).elements()
            found[key] = replace(record, addresses=(*before, *more))
    return tuple(found.values())


def judge_steps(context: Context) -> Iterator[Finding]:
    """Yield which steps were not carried out, or not met."""
    for index, phase in enumerate(context.trace.phases[1:]):
        subject = Subject(Topic("step", phase.name), ("steps", index))
        if phase.problem:
            yield context.finding(
                subject,
                Status.INCONCLUSIVE,
                Fact("carried_out"),
                Fact("not_carried_out"),
                reason=Fact("step_problem", said=Quote(phase.problem)),
                from_launcher=True,
            )
        elif phase.missed:
            # What a step waits for may be shown by the trace alone.
            reason = context.unobserved or context.untrusted or context.doubt
            yield context.finding(
                subject,
                Status.INCONCLUSIVE if reason else Status.FAIL,
                Fact("step_waits_for", said=Quote(phase.missed)),
                Fact("did_not_come"),
                reason=reason,
                from_launcher=True,
            )
