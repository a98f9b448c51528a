"""What every atom is judged against, and the one way to make a finding.

What goes from one expectation of a trace to the next is here too: variables, and the work that is
left, for a short file can ask for a great deal of work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from envoyassert.events import Event
from envoyassert.frozen import brief_repr, frozen
from envoyassert.graph.model import Call, SocketGraph, Thread
from envoyassert.judge.interval import Interval, count_of, wanted_interval
from envoyassert.judge.near import Mismatch
from envoyassert.judge.values import Certified, Counted, Fact, Number, Reason, Topic, Value
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.quantity import Count, Linear, Range
from envoyassert.trace import Phase, Trace

#: About half a minute on a machine of 2020: a unit is about one look at an event.
MOST = 30_000_000


class TooMuchError(Exception):
    """An expectation is not judged: all of them and the events are more work than so many units."""


@dataclass
class Work:
    """What is left of the work that may be done for one trace; it is the same on any machine.

    Args:
        left: units.
    """

    left: int = MOST

    def spend(self, units: int) -> None:
        """Take note of work that is about to be done.

        Raises:
            TooMuchError: it is more than is left, now or before.
        """
        self.left = -1 if units > self.left else self.left - units
        if self.left < 0:
            raise TooMuchError(MOST)


class Joined(NamedTuple):
    """What a variable stands for: its members' identities and names, who says so, of what kind."""

    members: frozenset[Hashable]
    names: Fact
    topic: Topic
    fact: str


#: How many events a finding shows at most.
EVIDENCE_LIMIT = 8

#: Why nothing that is counted in workers can be judged.
UNKNOWN_WORKERS = Fact("workers_unknown")
#: Why nothing can be judged that an epoll would show.
EPOLL_UNOBSERVED = Fact("epoll_unobserved")
#: What was seen of a listener that is not there.
NO_SOCKET = Fact("no_socket_bound")
#: What was seen where something could not be judged, or is not known.
NOT_JUDGED, NOT_KNOWN = Fact("not_judged"), Fact("not_known")


@frozen
class Subject:
    """What is being judged, and where it stands in the scenario.

    Args:
        topic: what it is about.
        path: its place in the scenario.
        why: the scenario's own `why`, or "".
        named: the positions in the path of what the scenario names itself: an option, a variable.
    """

    topic: Topic
    path: tuple[str | int, ...]
    why: str = ""
    named: tuple[int, ...] = ()

    def at(self, *parts: str | int) -> Subject:
        """Return the same subject, deeper in the scenario."""
        return Subject(self.topic, (*self.path, *parts), self.why, self.named)

    def of(self, name: str) -> Subject:
        """Return the same subject for one of the names that the scenario gives itself."""
        return Subject(self.topic, (*self.path, name), self.why, (*self.named, len(self.path)))

    @property
    def code(self) -> str:
        """What is asked, without what the scenario names itself: `bound.times`, `options`."""
        words = [str(p) for n, p in enumerate(self.path) if n > 1 and n not in self.named]
        return ".".join(words) or self.topic.kind


class StackMatch(NamedTuple):
    """Whether the stack of a call is the one that was asked for.

    Args:
        holds: True, False, or None if the trace does not show it.
        mismatch: what is wrong, if it does not hold.
        reason: why it is not known.
        skipped: whether it is not known for lack of symbols, or of an entry for this build id:
            something that more of the same trace would not change.
    """

    holds: bool | None
    mismatch: Mismatch | None = None
    reason: Fact | None = None
    skipped: bool = False


K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@frozen
class Context:
    """One trace under judgement, or the part of it that an expectation is about.

    Judging changes nothing here: of two expectations neither sees what the other one found, but
    for the variables, which are there for that, and the work that is left.

    Args:
        trace: the trace.
        graph: what it folds into.
        workers: the number of workers that was asked for; 0 if unknown.
        doubt: why the trace as a whole proves no absence, None if it does.
        untrusted: why nothing derived from the graph can be trusted, None if it can.
        contested: why nothing derived from the graph can be a PASS, though a FAIL stays, or None.
        uncompared: the numbers of sockets of which the kernel's account settles nothing, and why.
        unobserved: which channel was not observed, so that nothing can be said at all, or None.
        named: `id()` of the sockets that the scenario names, for a word that closes the world.
        perhaps_named: of those that it may name, or another listener may have.
        variables: what each variable stands for, by its name, as the expectations judged so far
            said; one that gives a name adds it.
        pids: the processes of the one Envoy that is asked about, None for all.
        whole: the graph of all processes, if `graph` is that of one Envoy.
        window: the phase whose calls alone count, None for all.
        by_listen: whether serving is judged by listen() since epoll was not observed.
        work: what may still be done for this trace.
    """

    trace: Trace
    graph: SocketGraph
    workers: int
    doubt: Reason | None = None
    untrusted: Certified | None = None
    contested: Reason | None = None
    unobserved: Certified | None = None
    uncompared: Mapping[int, Fact] = field(default_factory=dict)
    by_listen: bool = False
    named: frozenset[int] = frozenset()
    perhaps_named: frozenset[int] = frozenset()
    variables: dict[str, Joined] = field(default_factory=dict)
    window: Phase | None = None
    pids: frozenset[int] | None = None
    whole: SocketGraph | None = None
    work: Work = field(default_factory=Work)

    __repr__ = brief_repr

    @cached_property
    def _known(self) -> dict[tuple[Callable[[Any, Any], Any], Hashable], Any]:
        return {}

    def once(self, compute: Callable[[Context, K], T], of: K) -> T:
        """Return what a function without effects gives for this context, computed only once.

        Args:
            compute: the function.
            of: its second argument.
        """
        known = self._known
        if (compute, of) not in known:
            known[compute, of] = compute(self, of)
        found: T = known[compute, of]
        return found

    @cached_property
    def _by_call(self) -> dict[str, list[Event]]:
        found: defaultdict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[event.call].append(event)
        return found

    def calls_named(self, names: Iterable[str]) -> list[Event]:
        """Return the events that count of calls with one of these names, in their order."""
        wanted = self._by_call.keys() & set(names)
        if len(wanted) > 1:
            return [event for event in self.events if event.call in wanted]
        return [event for name in wanted for event in self._by_call[name]]

    @property
    def events(self) -> Sequence[Event]:
        """The events that count: those made during a phase, if the expectation names one."""
        if self.window is None and self.pids is None:
            return self.trace.events
        return [event for event in self.trace.events if self.in_window(event)]

    def in_window(self, event: Event) -> bool:
        """Return whether an event is of the phase and the Envoy that are asked for, if any are."""
        if self.pids is not None and event.pid not in self.pids:
            return False
        phase = self.window
        return phase is None or phase.begin_ns <= event.ts_ns <= phase.end_ns

    @cached_property
    def worker_threads(self) -> list[Thread]:
        """The worker threads that were seen."""
        return self.graph.workers()

    def interval(self, certain: int, seen: int) -> Interval:
        """Return what a count may truly be."""
        return Interval(certain, None) if self.doubt else Interval(certain, seen)

    def wanted_interval(self, count: Count) -> Interval | None:
        """Return what a count of the scenario stands for.

        None if it grows with the workers and their number is not known: 0 of 0 is no answer.
        """
        bounds: tuple[object, ...] = ()
        if isinstance(count, Range):
            bounds = (count.exactly, count.at_least, count.at_most, *(count.between or ()))
        grows = any(q == "workers" or isinstance(q, Linear) for q in (count, *bounds))
        return None if grows and self.workers < 1 else wanted_interval(count, self.workers)

    def count_calls(self, calls: Sequence[Call]) -> Interval:
        """Return how many of these calls there may truly be."""
        return self.interval(sum(call.certain for call in calls), len(calls))

    def finding(
        self,
        subject: Subject,
        status: Status,
        wanted: Value,
        seen: Value,
        *,
        reason: Reason | None = None,
        evidence: Iterable[Event] = (),
        cause: Fact | None = None,
        from_events: bool = False,
        from_launcher: bool = False,
    ) -> Finding:
        """Make a finding; one that relies on a graph that cannot be trusted is INCONCLUSIVE.

        Args:
            subject: what and where.
            status: PASS, FAIL or INCONCLUSIVE, as far as the events show.
            wanted: what was asked.
            seen: what was observed.
            reason: why it is INCONCLUSIVE, if it is; the trace's own doubt by default.
            evidence: events that show it; the first few are kept.
            cause: what it means at the level of behaviour, kept for a FAIL only.
            from_events: a violation is plain from the arguments of single events.
            from_launcher: the launcher saw it itself; the trace's state does not matter.
        """
        plain_violation = from_events and status is Status.FAIL
        if from_launcher:
            pass
        elif self.unobserved or (self.untrusted and not plain_violation):
            status, reason = Status.INCONCLUSIVE, self.unobserved or self.untrusted
        elif self.contested and status is Status.PASS:
            status, reason = Status.INCONCLUSIVE, self.contested
        if status is Status.INCONCLUSIVE:
            reason = reason or self.doubt or _NOT_SHOWN
        return Finding(
            status,
            subject.path,
            subject.code,
            subject.topic,
            wanted,
            seen,
            reason if status is Status.INCONCLUSIVE else None,
            tuple(sorted(evidence, key=lambda event: event.ts_ns)[:EVIDENCE_LIMIT]),
            cause if status is Status.FAIL else None,
            subject.why,
        )

    def judge_times(
        self,
        subject: Subject,
        of: Counted,
        count: Count,
        calls: Sequence[Call],
        *,
        shape: str | Fact = "",
        from_events: bool = False,
    ) -> Finding:
        """Judge how often something happened."""
        possible = self.interval(len(calls), len(calls)) if from_events else self.count_calls(calls)
        return self.judge_count(
            subject,
            of,
            count,
            possible,
            len(calls),
            evidence=[call.event for call in calls],
            shape=shape,
            from_events=from_events,
        )

    def judge_count(
        self,
        subject: Subject,
        of: Counted,
        count: Count,
        possible: Interval,
        seen: int,
        *,
        evidence: Sequence[Event],
        shape: str | Fact = "",
        from_events: bool = False,
    ) -> Finding:
        """Judge how often something happened, given how often it may truly have.

        Too many is plain from the events themselves; too few never is, for what is missing may
        have taken a path that was not seen.

        Args:
            subject: what and where.
            of: what is counted.
            count: how many there should be.
            possible: how many there may be.
            seen: how many were seen.
            evidence: events that show them.
            shape: how the listener is served, which may explain the number, or "".
            from_events: as in `finding`.
        """
        wanted = self.wanted_interval(count)
        asked, number = count_of(of, wanted), Number(of, seen)
        if wanted is None:
            return self.finding(
                subject,
                Status.INCONCLUSIVE,
                asked,
                number,
                reason=UNKNOWN_WORKERS,
                evidence=evidence,
            )
        too_many = wanted.high is not None and possible.low > wanted.high
        return self.finding(
            subject,
            possible.compare(wanted),
            asked,
            number,
            evidence=evidence,
            cause=cause_of_count(shape, seen, wanted),
            from_events=from_events and too_many,
        )


_NOT_SHOWN = Fact("not_shown")


#: The shape of what the only worker serves: whatever the config says, there is one of everything.
ONE_WORKER = "one_worker"


def cause_of_count(shape: str | Fact, seen: int, wanted: Interval) -> Fact | None:
    """Return how a listener is served as the cause of a count that is not as wanted.

    Args:
        shape: `reuse_port`, `dup`, `shared_fd`, ONE_WORKER, or "" if it is none of them; or a
            fault of ours.
        seen: how many there were.
        wanted: how many were wanted.
    """
    if not shape or wanted.high == 0:
        return None
    if isinstance(shape, Fact):
        return shape
    if shape == ONE_WORKER:
        return Fact("one_worker") if seen < wanted.low else None
    return Fact("shape", shape=shape, other="more" if seen < wanted.low else "fewer")
