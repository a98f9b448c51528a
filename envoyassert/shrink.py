"""Shrink a failing trace to the few events that show the failure.

First a slice along the graph, then delta debugging (Zeller and Hildebrandt, "Simplifying and
Isolating Failure-Inducing Input", 2002) over sockets and threads, then over single events. Whatever
is taken out, the same atom must fail in the same way, and nothing may contradict itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from envoyassert.events import Event
from envoyassert.excerpt import Excerpt
from envoyassert.graph.cut import numbered
from envoyassert.graph.fold import fold
from envoyassert.graph.model import KernelSocket, SocketGraph, place_key
from envoyassert.judge.judge import judge
from envoyassert.judge.left_open import shown_by
from envoyassert.judge.verdict import Finding, Verdict
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import Model, models_in
from envoyassert.scenario.selector import Selector
from envoyassert.symbols import Symbols
from envoyassert.trace import CpuCounters, Member, Phase, Trace

T = TypeVar("T")

#: What distinguishes threads and epolls: kept in every slice, whichever sockets are in it.
_SKELETON = frozenset({"exec", "fork", "rename", "epoll_create1", "epoll_wait"})
#: How many events may be judged, over all attempts, before the best so far is taken.
BUDGET = 1_000_000
#: How much of the budget an attempt takes at least: small traces are not judged for nothing.
_ATTEMPT = 2_000
#: If no fewer events show it to the number, fewer of the same kind may show it as well.
_FEW = 100


def shrink(
    trace: Trace,
    finding: Finding,
    expectations: Sequence[tuple[int, Conditional]],
    *,
    workers: int,
    assume: tuple[str, ...] = (),
    budget: int = BUDGET,
) -> Trace:
    """Return an excerpt of a trace that fails in the same way.

    Args:
        trace: the whole trace.
        finding: a FAIL or KNOWN_DEFECT that judging it gave.
        expectations: what it was judged by, with places in the scenario.
        workers: the number of workers that was asked for.
        assume: what the scenario takes for granted.
        budget: how many events may be judged on the way, over all attempts.

    Returns:
        A trace whose header says that it is an excerpt, and of what; at worst all of it.
    """
    search = _Search(trace, finding, _needed(finding, expectations), workers, assume, budget)
    events = search.shrunk()
    excerpt = shown_by(finding, len(trace.events))
    found = _with_events(trace, events)
    return replace(found, header=replace(found.header, excerpt=excerpt))


def _needed(
    finding: Finding, expectations: Sequence[tuple[int, Conditional]]
) -> list[tuple[int, Conditional]]:
    """Return the expectation that was not met; all where others say what it is about."""
    (item,) = [item for index, item in expectations if index == finding.path[1]]
    given = {field for part in models_in(item, Model) for field in part.model_fields_set}
    refers = any(selector.variable for selector in models_in(item, Selector))
    joined = refers or bool(given & {"no_others", "let"})
    return list(expectations) if joined else [(int(finding.path[1]), item)]


def _with_events(trace: Trace, events: Iterable[Event]) -> Trace:
    """Return a trace of some of the events, numbered as if there had been no others.

    The accounts of the kernel and of Envoy are about everything; they are left out.
    """
    counts: dict[int, int] = {}
    kept = []
    for event in events:
        counts[event.cpu] = number = counts.get(event.cpu, 0) + 1
        kept.append(numbered(event, number if trace.end.cpus else event.seq))
    cpus = tuple(CpuCounters(cpu, count, 0) for cpu, count in sorted(counts.items()))
    if trace.end.cpus and not cpus:
        cpus = (CpuCounters(0, 0, 0),)
    end = replace(trace.end, cpus=cpus if trace.end.cpus else (), misses=0)
    frames = {frame for event in kept for frame in event.stack}
    symbols = Symbols(
        {frame: name for frame, name in trace.symbols.names.items() if frame in frames},
        {frame: name for frame, name in trace.symbols.callees.items() if frame in frames},
        trace.symbols.files,
    )
    phases = tuple(replace(phase, witness=None, envoys=_unasked(phase)) for phase in trace.phases)
    by = "" if trace.header.tracer == "ebpf" else trace.header.tracer
    return Trace(replace(trace.header, tracer=by), kept, end, None, phases, symbols)


def _unasked(phase: Phase) -> tuple[Member, ...]:
    return tuple(replace(member, witness=None) for member in phase.envoys)


@dataclass
class _Search:
    """The attempts to show one failure with fewer events.

    Args:
        trace: all of it.
        finding: the failure.
        expectations: what has to be judged to find it.
        workers: the number of workers that was asked for.
        assume: what the scenario takes for granted.
        budget: how many more events may be judged.
        exact: whether what was seen must be the same to the number.
    """

    trace: Trace
    finding: Finding
    expectations: list[tuple[int, Conditional]]
    workers: int
    assume: tuple[str, ...]
    budget: int
    exact: bool = True
    excerpt: Excerpt = field(init=False)
    allowed: set[str] = field(init=False)
    _graph: SocketGraph = field(init=False)
    _owners: dict[int, KernelSocket] = field(init=False)

    def __post_init__(self) -> None:
        finding = self.finding
        self.excerpt = shown_by(finding)
        self._graph = fold(self.trace)
        self._owners = {
            id(call.event): socket for socket in self._graph.sockets for call in socket.calls
        }
        # What is wrong with the whole trace, but for its losses, is wrong with a part of it.
        verdict = self._judge(self.trace.events)
        self.allowed = {check.name for check in verdict.certificate.missing}

    def shrunk(self) -> list[Event]:
        """Return fewer events that show the failure."""
        owners = self._owners
        similar: list[Event] | None = None
        for sockets in _slices(self.finding, self._graph):
            wanted = {id(socket) for socket in sockets}
            events = [
                event
                for event in self.trace.events
                if event.call in _SKELETON or id(owners.get(id(event))) in wanted
            ]
            found = self._failure(events)
            if found is None:
                continue
            similar = similar or events
            if found.seen == self.finding.seen:
                break
        else:
            events = self.trace.events
        if len(events) > _FEW:
            self.exact = False
            events = similar or events
        return self._reduced(events)

    def _reduced(self, events: list[Event]) -> list[Event]:
        """Return what is left when nothing more can be left out: groups first, then events."""
        groups: dict[Hashable, list[Event]] = {}
        owners = self._owners
        for event in events:
            groups.setdefault(_group_of(event, owners.get(id(event))), []).append(event)
        parts = minimal(list(groups.values()), lambda kept: self._holds(_in_order(kept)))
        found = minimal(_in_order(parts), self._holds)
        # Where nothing at all is enough, it is about what is not there: the closest is shown.
        closest = list(self.finding.evidence)
        return closest if not found and self._holds(closest) else found

    def _judge(self, events: Sequence[Event]) -> Verdict:
        self.budget -= max(len(events), _ATTEMPT)
        part = _with_events(self.trace, events)
        return judge(part, self.expectations, workers=self.workers, assume=self.assume)

    def _holds(self, events: Sequence[Event]) -> bool:
        """Whether these events show the failure; never, once the budget is spent."""
        if self.budget < len(events):
            return False
        found = self._failure(events)
        return found is not None and (not self.exact or found.seen == self.finding.seen)

    def _failure(self, events: Sequence[Event]) -> Finding | None:
        """Return the failure as these events show it, None if they do not."""
        verdict = self._judge(events)
        if any(check.name not in self.allowed for check in verdict.certificate.missing):
            return None
        for found in verdict.findings:
            if found.status is self.finding.status and self.excerpt.shows(shown_by(found)):
                return found
        return None


def _in_order(parts: Iterable[list[Event]]) -> list[Event]:
    return sorted((e for part in parts for e in part), key=lambda e: (e.ts_ns, e.cpu, e.seq))


def _slices(finding: Finding, graph: SocketGraph) -> Iterator[list[KernelSocket]]:
    """Yield which sockets may be enough, the fewest first."""
    shown = {id(event) for event in finding.evidence}
    near = [s for s in graph.sockets if any(id(call.event) in shown for call in s.calls)]
    yield []
    yield near
    places = {place_key(place) for socket in near for place in socket.places}
    yield [s for s in graph.sockets if places & {place_key(place) for place in s.places}]
    yield list(graph.listening())
    yield graph.candidates


def _group_of(event: Event, socket: KernelSocket | None) -> Hashable:
    """Return what an event belongs to: a socket, a thread or an epoll, else itself."""
    if socket is not None:
        return "socket", socket.number
    if event.call == "fork":
        return "thread", event.args["child_tid"]
    if event.call == "rename":
        return "thread", event.args["tid"]
    if event.call in ("epoll_wait", "exit"):
        return "thread", event.tid
    if event.call == "epoll_create1":
        return "epoll", event.pid, event.ret
    return event.call, event.pid, event.args.get("fd")


def minimal(parts: list[T], holds: Callable[[list[T]], bool]) -> list[T]:
    """Return parts of which none can be left out, by delta debugging.

    Args:
        parts: for which it holds.
        holds: whether it still does for some of them, in their order.
    """
    if holds([]):
        return []
    pieces = 2
    while len(parts) > 1:
        size = -(-len(parts) // pieces)
        for start in range(0, len(parts), size):
            rest = parts[:start] + parts[start + size :]
            if rest and holds(rest):
                parts, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(parts))
    return parts


__all__ = ["BUDGET", "minimal", "shrink"]
