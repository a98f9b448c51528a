"""`connections`: who accepted and who handles them, and how they are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from math import comb, exp, log
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, model_validator

from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.scenario.grammar import ErrnoName, Model, RoleOrNone
from envoyassert.scenario.quantity import Count
from envoyassert.words.word import Example, ListenerWord, Part

if TYPE_CHECKING:
    from envoyassert.events import Event
    from envoyassert.graph.model import Call, KernelSocket, Thread
    from envoyassert.judge.context import (
        Context,
        Subject,
    )
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Reason
    from envoyassert.judge.verdict import Finding

_FACTS = ("total", "accepted_by", "handled_by", "spread", "errors")


class Even(Model):
    """As even as chance makes it: each worker is as likely as any other, for each connection."""

    false_alarm: float = Field(
        0.001,
        gt=0,
        lt=0.5,
        description="How often an even spread may be called uneven: the rate of false alarms.",
    )


class Spread(Model):
    """How the connections are spread over the workers."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [way]} for way in ("differ_by", "even")]}
    )

    of: Literal["accepted", "handled"] = Field(
        "handled", description="By who called accept(), or by who handles them."
    )
    differ_by: int | None = Field(
        None,
        ge=0,
        description="Exactly: no two workers have numbers that differ by more than this, as under "
        "exact_balance.",
    )
    even: Even | None = Field(
        None,
        description="By chance, where the kernel decides: FAIL only if so uneven a spread is "
        "rarer than the rate of false alarms. Needs 20 connections per worker.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Spread:
        if (self.differ_by is None) == (self.even is None):
            raise ValueError("give either differ_by or even")
        return self


class Connections(Model):
    """The connections that were accepted on the listener's sockets."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [fact]} for fact in _FACTS]}
    )

    total: Count | None = Field(None, description="How many were accepted.")
    accepted_by: RoleOrNone | None = Field(None, description="Which threads called accept().")
    handled_by: RoleOrNone | None = Field(
        None,
        description="In whose epoll they were registered first; under exact_balance that may be "
        "another thread than the one that accepted.",
    )
    spread: Spread | None = Field(None, description="How they are spread over the workers.")
    errors: dict[ErrnoName, Count] | None = Field(
        None, min_length=1, description="How many calls of accept() failed, by error."
    )

    @model_validator(mode="after")
    def _some_fact(self) -> Connections:
        if not self.model_fields_set & set(_FACTS):
            raise ValueError(f"give one of {', '.join(_FACTS)}")
        return self


#: Fewer connections per worker than this distinguish chance and design too badly.
_NEEDED_PER_WORKER = 20
#: Up to so many connections the chance of a spread is exact; its numbers grow with the square.
_EXACT = 2000
_ACCEPTS = ("accept", "accept4")


def judge_connections(target: Target, word: str, value: Connections) -> Iterator[Finding]:
    """Judge the connections of one listener."""
    from envoyassert.judge.roles import judge_callers
    from envoyassert.judge.values import Act

    context, subject = target.context, target.subject.at(word)
    calls = [
        call
        for socket in target.sockets
        for call in socket.calls
        if call.event.call in _ACCEPTS and context.in_window(call.event)
    ]
    accepts = [call for call in calls if call.event.ok]
    if value.total is not None:
        yield context.judge_times(subject.at("total"), Act("accept"), value.total, accepts)
    if value.accepted_by is not None:
        yield judge_callers(
            context, subject.at("accepted_by"), Act("accept"), value.accepted_by, accepts
        )
    handled = _Handled(target, accepts)
    if value.handled_by is not None:
        yield handled.judge(subject.at("handled_by"), value.handled_by)
    if value.spread is not None:
        yield _judge_spread(context, subject.at("spread"), value.spread, accepts, handled)
    for errno, times in (value.errors or {}).items():
        failed = [call for call in calls if call.event.errno == errno]
        yield context.judge_times(
            subject.at("errors").of(errno), Act("accept_failed", errno), times, failed
        )


class _Handled:
    """Whose epoll the accepted connections were registered in first."""

    def __init__(self, target: Target, accepts: Sequence[Call]) -> None:
        self._context = target.context
        born = {id(call.event) for call in accepts}
        listening = {id(socket) for socket in target.sockets}
        self._connections = [
            socket
            for socket in target.context.graph.sockets
            if id(socket.accepted_from) in listening and id(socket.born) in born
        ]
        self.threads: list[Thread] = []
        self.evidence: list[Event] = []
        #: Those that no thread waits for: closed at once, or their registration was not seen.
        self.unhandled: list[KernelSocket] = []
        self.unclear: Fact | None = None
        for connection in self._connections:
            self._follow(connection)

    def _follow(self, connection: KernelSocket) -> None:
        registrations = [r for d in connection.descriptors for r in d.registrations]
        if not registrations:
            self.unhandled.append(connection)
            return
        first = min(registrations, key=lambda one: one.since_ns)
        waiters = first.epoll.waiters
        if len(waiters) != 1:
            self.unclear = Fact("waiters_of_connection", number=len(waiters))
            return
        self.threads.append(waiters[0])
        self.evidence.append(first.added.event)

    def judge(self, subject: Subject, role: str) -> Finding:
        """Judge who handles the connections."""
        from envoyassert.judge.context import EPOLL_UNOBSERVED, NOT_KNOWN
        from envoyassert.judge.roles import judge_threads
        from envoyassert.judge.values import Act, By

        act = Act("handle")
        if self._context.by_listen or self.unclear:
            return self._context.finding(
                subject,
                Status.INCONCLUSIVE,
                By(act, role, self._context.workers),
                NOT_KNOWN,
                reason=self.unclear or EPOLL_UNOBSERVED,
            )
        return judge_threads(
            self._context,
            subject,
            act,
            role,
            list(dict.fromkeys(self.threads)),
            evidence=self.evidence,
            certain=False,
        )


def _judge_spread(
    context: Context, subject: Subject, spread: Spread, accepts: Sequence[Call], handled: _Handled
) -> Finding:
    """Judge how the connections are spread over the workers."""
    from envoyassert.judge.context import EPOLL_UNOBSERVED, UNKNOWN_WORKERS
    from envoyassert.judge.roles import matches_role

    threads = handled.threads if spread.of == "handled" else [call.thread for call in accepts]
    counts = Counter(thread.role for thread in threads if matches_role(thread, "workers"))
    numbers = sorted((counts[f"worker_{i}"] for i in range(context.workers)), reverse=True)
    reason: Reason | None = None
    improbable: float | None = None
    if spread.differ_by is not None:
        expected = Fact("differ_by", number=spread.differ_by)
        holds = bool(numbers) and max(numbers) - min(numbers) <= spread.differ_by
    else:
        even = spread.even or Even()
        expected = Fact("even_spread", false_alarm=even.false_alarm)
        chance = rarity(numbers)
        improbable = float(chance)
        holds = chance >= Fraction(even.false_alarm)
        if len(threads) < _NEEDED_PER_WORKER * context.workers:
            reason = Fact("too_few_connections", needed=_NEEDED_PER_WORKER * context.workers)
    if context.workers < 1:
        reason = UNKNOWN_WORKERS
    elif sum(numbers) != len(threads):
        holds = False  # another thread than a worker has some of them
    elif spread.of == "handled" and (handled.unclear or context.by_listen):
        reason = handled.unclear or EPOLL_UNOBSERVED
    elif not threads:
        reason = Fact("none_accepted")
    status = Status.PASS if holds else Status.FAIL
    if reason or context.doubt:
        status = Status.INCONCLUSIVE
    seen = Fact(
        "spread", numbers=tuple(numbers), total=len(threads), of=spread.of, chance=improbable
    )
    evidence = [call.event for call in accepts]
    return context.finding(subject, status, expected, seen, reason=reason, evidence=evidence)


def rarity(numbers: Sequence[int]) -> Fraction:
    """Return an upper bound of the chance of a spread at least as uneven as this one.

    Each connection goes to each worker with the same probability, independently of the others (the
    kernel picks a member of a reuseport group by a hash of addresses and ports: socket(7)). The
    number of one worker is then binomial; the tails of all workers are added (Boole's inequality),
    so that the bound is never too small and a FAIL never more frequent than the stated rate. The
    tails of many connections are bounded by Chernoff's inequality, which is larger still.

    Args:
        numbers: connections of each worker.
    """
    total, workers = sum(numbers), len(numbers)
    if workers < 2 or not total:
        return Fraction(1)
    tail = _tails(total, workers)
    # Both tails of every worker that are as improbable as the most improbable one.
    return min(Fraction(1), 2 * workers * min(map(tail, numbers)))


def chance_range(total: int, workers: int, false_alarm: float) -> tuple[int, int]:
    """Return the fewest and the most connections that chance gives to one worker.

    Args:
        total: connections of all workers.
        workers: how many workers there are.
        false_alarm: how rare a spread is in which some worker is outside of it, at most.
    """
    if workers < 2 or not total:
        return (total if workers == 1 else 0), total
    tail = _tails(total, workers)
    likely = [k for k in range(total + 1) if 2 * workers * tail(k) >= false_alarm]
    return likely[0], likely[-1]


def _tails(total: int, workers: int) -> Callable[[int], Fraction]:
    """Return what gives an upper bound of the tail that begins at a number of connections."""
    if total > _EXACT:
        return lambda number: Fraction(_tail(number, total, workers))
    weights = [comb(total, k) * (workers - 1) ** (total - k) for k in range(total + 1)]
    upto = [*accumulate(weights)]
    whole = workers**total
    # Of both tails the one that is less probable.
    return lambda k: Fraction(min(upto[k], whole - (upto[k - 1] if k else 0)), whole)


def _tail(number: int, total: int, workers: int) -> float:
    """Return an upper bound of the tail of the binomial distribution that begins at a number.

    Chernoff's inequality: exp(-n D), with D the divergence of the share from the probability.
    """
    share, chance = number / total, 1 / workers
    parts = ((share, chance), (1 - share, 1 - chance))
    divergence = sum(seen * log(seen / given) for seen, given in parts if seen)
    return exp(-total * divergence)


WORD = ListenerWord(
    name="connections",
    form=Connections,
    description="Connections that were accepted on its sockets.",
    judge=judge_connections,
    example=Example(
        "connections: {total: 20, accepted_by: workers}",
        "twenty_connections",
        "one_worker_accepts_all",
    ),
    also_called=("accept", "accepts", "accepted", "accepted_by", "clients"),
    parts=(
        Part(
            Connections,
            "`connections`",
            "[{listener: {port: 15006}, connections: {%}}]",
            {
                "total": Example("total: 20", "twenty_connections", "nineteen_connections"),
                "accepted_by": Example(
                    "accepted_by: workers", "twenty_connections", "one_worker_accepts_all"
                ),
                "handled_by": Example(
                    "handled_by: workers", "twenty_connections", "one_worker_handles_all"
                ),
                "spread": Example(
                    "spread: {differ_by: 1}", "twenty_connections", "one_worker_handles_all"
                ),
                "errors": Example(
                    "errors: {EMFILE: none, EAGAIN: {at_least: 1}}",
                    "twenty_connections",
                    "accept_out_of_descriptors",
                ),
            },
        ),
        Part(
            Spread,
            "`spread`",
            "[{listener: {port: 15006}, connections: {spread: {%}}}]",
            {
                "of": Example(
                    "of: accepted, differ_by: 1", "one_worker_handles_all", "one_worker_accepts_all"
                ),
                "differ_by": Example(
                    "differ_by: 1", "twenty_connections", "one_worker_handles_all"
                ),
                "even": Example(
                    "even: {false_alarm: 0.001}", "evenly_accepted", "unevenly_accepted"
                ),
            },
        ),
        Part(
            Even,
            "`even`",
            "[{listener: {port: 15006}, connections: {spread: {even: {%}}}}]",
            {
                "false_alarm": Example(
                    "false_alarm: 0.0001", "rather_unevenly_accepted", "unevenly_accepted"
                ),
            },
        ),
    ),
    done=True,
)
