"""What every atom is judged against, and the one way to make a finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from envoyassert.events import Event
from envoyassert.graph.model import Call, SocketGraph, Thread
from envoyassert.judge.interval import Interval, so_often, times, wish_of
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.expectation import Count
from envoyassert.trace import Trace

#: How many events a finding shows at most.
EVIDENCE_LIMIT = 8


@dataclass(frozen=True)
class Subject:
    """What is being judged: its name in messages, and where it stands in the scenario."""

    name: str
    path: tuple[str | int, ...]
    why: str = ""

    def at(self, *parts: str | int) -> Subject:
        """Return the same subject, deeper in the scenario."""
        return Subject(self.name, (*self.path, *parts), self.why)


@dataclass
class Context:
    """One trace under judgement.

    Args:
        trace: the trace.
        graph: what it folds into.
        workers: the number of workers that was asked for; 0 if unknown.
        doubt: why the trace as a whole proves no absence, "" if it does.
        untrusted: why nothing derived from the graph can be trusted, "" if it can.
        unobserved: which channel was not observed, so that nothing can be said at all, or "".
        by_listen: whether serving is judged by listen() since epoll was not observed.
    """

    trace: Trace
    graph: SocketGraph
    workers: int
    doubt: str = ""
    untrusted: str = ""
    unobserved: str = ""
    by_listen: bool = False
    named: set[int] = field(default_factory=set)

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
        wanted = wish_of(wish, self.workers)
        return self.finding(
            subject,
            possible.compare(wanted),
            f"{verb} {times(wanted)}",
            f"{verb} {so_often(len(calls))}",
            evidence=[call.event for call in calls],
            hint=hint,
            from_events=from_events,
        )
