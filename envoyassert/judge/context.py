"""What every atom is judged against, and the one way to make a finding."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from envoyassert.events import Event
from envoyassert.graph.model import Call, SocketGraph, Thread
from envoyassert.judge.interval import Interval, so_often, times, wish_of
from envoyassert.judge.shape import hint_of_count
from envoyassert.judge.verdict import Finding, Status
from envoyassert.judge.work import Work
from envoyassert.scenario.quantity import Count, Linear, Range
from envoyassert.scenario.stack import CallSource
from envoyassert.trace import Phase, Trace

#: How many events a finding shows at most.
EVIDENCE_LIMIT = 8

#: Why nothing that is counted in workers can be judged.
UNKNOWN_WORKERS = "the number of workers that was asked for is not known"


@dataclass(frozen=True)
class Subject:
    """What is being judged: its name in messages, and where it stands in the scenario."""

    name: str
    path: tuple[str | int, ...]
    why: str = ""

    def at(self, *parts: str | int) -> Subject:
        """Return the same subject, deeper in the scenario."""
        return Subject(self.name, (*self.path, *parts), self.why)


class Joined(NamedTuple):
    """What a variable stands for: its members' identities, in words, who says so, of what kind."""

    members: frozenset[Hashable]
    words: str
    subject: str
    fact: str


class StackMatch(NamedTuple):
    """Whether the stack of a call is the one that was asked for.

    Args:
        holds: True, False, or None if the trace does not tell.
        words: what is amiss, or why it cannot be told.
        skipped: whether it cannot be told for want of symbols, or of an entry for this build id:
            something that more of the same trace would not change.
    """

    holds: bool | None
    words: str = ""
    skipped: bool = False


@dataclass
class Context:
    """One trace under judgement.

    Args:
        trace: the trace.
        graph: what it folds into.
        workers: the number of workers that was asked for; 0 if unknown.
        doubt: why the trace as a whole proves no absence, "" if it does.
        untrusted: why nothing derived from the graph can be trusted, "" if it can.
        contested: why nothing derived from the graph can be a PASS, though a FAIL stays, or "".
        uncompared: the numbers of sockets of which the kernel's account settles nothing, and why.
        unobserved: which channel was not observed, so that nothing can be said at all, or "".
        named: `id()` of the sockets that expectations named so far.
        joined: what the variables of expectations stand for so far.
        admin_traffic: what `calls.admin_traffic` found, once it was asked for.
        pids: the processes of the one Envoy that is asked about, None for all.
        whole: the graph of all processes, if `graph` is that of one Envoy.
        window: the phase whose calls alone count, None for all.
        by_listen: whether serving is judged by listen() since epoll was not observed.
        call_sites: the call sites that `same_as` stands for, and whether each is sure; None for
            one that is not known.
        work: what may still be done for this trace.
        unknown_stacks: what could not be told of stacks for the expectation that is being judged.
    """

    trace: Trace
    graph: SocketGraph
    workers: int
    doubt: str = ""
    untrusted: str = ""
    contested: str = ""
    unobserved: str = ""
    uncompared: Mapping[int, str] = field(default_factory=dict)
    by_listen: bool = False
    call_sites: dict[CallSource, dict[str | None, bool]] = field(default_factory=dict)
    unknown_stacks: list[StackMatch] = field(default_factory=list)
    named: set[int] = field(default_factory=set)
    joined: dict[str, Joined] = field(default_factory=dict)
    admin_traffic: set[int] | None = None
    window: Phase | None = None
    pids: frozenset[int] | None = None
    whole: SocketGraph | None = None
    work: Work = field(default_factory=Work)

    @cached_property
    def _by_call(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.call, []).append(event)
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
    def calls_by_event(self) -> dict[int, Call]:
        """The calls on sockets, by `id()` of their event."""
        return {id(call.event): call for socket in self.graph.sockets for call in socket.calls}

    @cached_property
    def worker_threads(self) -> list[Thread]:
        """The worker threads that were seen."""
        return self.graph.workers()

    def interval(self, certain: int, seen: int) -> Interval:
        """Return what a count may truly be."""
        return Interval(certain, None) if self.doubt else Interval(certain, seen)

    def wish(self, count: Count) -> Interval | None:
        """Return what a count of the scenario stands for.

        None if it grows with the workers and their number is not known: 0 of 0 is no answer.
        """
        bounds: tuple[object, ...] = ()
        if isinstance(count, Range):
            bounds = (count.exactly, count.at_least, count.at_most, *(count.between or ()))
        grows = any(q == "workers" or isinstance(q, Linear) for q in (count, *bounds))
        return None if grows and self.workers < 1 else wish_of(count, self.workers)

    def count_calls(self, calls: Sequence[Call]) -> Interval:
        """Return how many of these calls there may truly be."""
        return self.interval(sum(call.certain for call in calls), len(calls))

    def finding(
        self,
        subject: Subject,
        status: Status,
        expected: str,
        seen: str,
        *,
        reason: str = "",
        evidence: Iterable[Event] = (),
        hint: str = "",
        from_events: bool = False,
        from_launcher: bool = False,
    ) -> Finding:
        """Make a finding; one that leans on a graph that cannot be trusted is INCONCLUSIVE.

        Args:
            subject: what and where.
            status: PASS, FAIL or INCONCLUSIVE, as far as the events tell.
            expected: what was asked, in words.
            seen: what was observed, in words.
            reason: why it is INCONCLUSIVE, if it is; the trace's own doubt by default.
            evidence: events that show it; the first few are kept.
            hint: behaviour-level help, kept for a FAIL only.
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
            reason = reason or self.doubt or "the trace does not tell"
        return Finding(
            status,
            subject.path,
            subject.name,
            expected,
            seen,
            reason if status is Status.INCONCLUSIVE else "",
            tuple(sorted(evidence, key=lambda event: event.ts_ns)[:EVIDENCE_LIMIT]),
            hint if status is Status.FAIL else "",
            subject.why,
        )

    def judge_times(
        self,
        subject: Subject,
        verb: str,
        wish: Count,
        calls: Sequence[Call],
        *,
        hint: str = "",
        from_events: bool = False,
    ) -> Finding:
        """Judge how often something happened."""
        possible = self.interval(len(calls), len(calls)) if from_events else self.count_calls(calls)
        return self.judge_count(
            subject,
            verb,
            wish,
            possible,
            len(calls),
            evidence=[call.event for call in calls],
            hint=hint,
            from_events=from_events,
        )

    def judge_count(
        self,
        subject: Subject,
        verb: str,
        wish: Count,
        possible: Interval,
        seen: int,
        *,
        evidence: Sequence[Event],
        hint: str = "",
        from_events: bool = False,
    ) -> Finding:
        """Judge how often something happened, given how often it may truly have.

        Too many is plain from the events themselves; too few never is, for what is missing may
        have taken a path that was not seen.
        """
        wanted = self.wish(wish)
        if wanted is None:
            return self.finding(
                subject,
                Status.INCONCLUSIVE,
                f"{verb} a number of times that grows with the workers",
                f"{verb} {so_often(seen)}",
                reason=UNKNOWN_WORKERS,
                evidence=evidence,
            )
        too_many = wanted.high is not None and possible.low > wanted.high
        return self.finding(
            subject,
            possible.compare(wanted),
            f"{verb} {times(wanted)}",
            f"{verb} {so_often(seen)}",
            evidence=evidence,
            hint=hint_of_count(hint, seen, wanted),
            from_events=from_events and too_many,
        )
