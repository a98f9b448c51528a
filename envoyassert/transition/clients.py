"""How clients of a change ended, and how long none was served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from envoyassert.predict.effects import Fate
from envoyassert.trace import ConnectionAttempt
from envoyassert.words.attempts import fates


@dataclass(frozen=True)
class Clients:
    """How many clients ended how.

    Args:
        tried: all of them.
        answered: who had an answer.
        closed: whose connection Envoy closed before an answer.
        reset: whose connection was reset.
        silent: who was still waiting at the deadline.
        refused: who was not even connected.
    """

    tried: int = 0
    answered: int = 0
    closed: int = 0
    reset: int = 0
    silent: int = 0
    refused: int = 0

    @property
    def lost(self) -> int:
        """Requests that were sent and never answered."""
        return self.closed + self.reset + self.silent

    def __add__(self, other: Clients) -> Clients:
        names = self.__dataclass_fields__
        return Clients(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True)
class Gap:
    """The longest time in which no client was accepted and answered.

    Args:
        ms: its length, in milliseconds; of one without an end, as far as it was seen.
        pace_ms: the time between two answers that is usual in this run.
        idle_ms: the part of it in which no client came.
        open: whether no client was answered any more.
    """

    ms: float
    pace_ms: float
    idle_ms: float = 0.0
    open: bool = False


def clients_of(attempts: Sequence[ConnectionAttempt]) -> Clients:
    """Return how clients ended, each counted once."""
    counts = fates(attempts)
    answered, reset, silent = (counts[name] for name in ("answered", "reset", "silent"))
    refused = sum(not one.ok and one.errno != "ETIMEDOUT" for one in attempts)
    closed = len(attempts) - answered - reset - silent - refused
    return Clients(len(attempts), answered, closed, reset, silent, refused)


def gap_of(*parts: Sequence[ConnectionAttempt], after: Sequence[ConnectionAttempt] = ()) -> Gap:
    """Return the longest time without an answer.

    Args:
        parts: clients that kept coming, in stretches between which none came.
        after: those that came later; they count where the others saw no end of it.
    """
    parts = tuple(part for part in parts if part)
    attempts = [one for part in parts for one in part]
    idle_ns = [
        (max(one.ended_ns for one in first), min(one.began_ns for one in second))
        for first, second in pairwise(parts)
    ]
    answers = sorted(one.ended_ns for one in attempts if one.first_byte)
    first_ns = min(one.began_ns for one in attempts)
    last_ns = max(one.ended_ns for one in attempts)
    between = list(pairwise([first_ns, *answers]))
    pace_ns = median(b - a for a, b in between) if between else 0
    answered_ns = answers[-1] if answers else first_ns
    is_open = any(one.began_ns >= answered_ns and not one.first_byte for one in attempts)
    later = [one for one in after if one.first_byte]
    if is_open and later:
        return gap_of(*parts, later[:1])
    if is_open:
        between = [(answered_ns, last_ns)]
    begin, end = max(between, key=lambda pair: pair[1] - pair[0])
    idle = sum(b - a for a, b in idle_ns if begin <= a and b <= end)
    return Gap((end - begin) / 1e6, pace_ns / 1e6, idle / 1e6, is_open)


def fate_of(first: Clients, last: Clients) -> Fate:
    """Return what happened to connections: when they were asked first, and last."""
    if not first.tried:
        return Fate.NONE
    if first.silent or last.silent:
        return Fate.UNSERVED
    resets = first.reset or last.reset
    if resets:
        return Fate.SOME_RESET if first.answered and last.answered else Fate.RESET
    return Fate.KEPT if last.answered == last.tried else Fate.DRAINED
