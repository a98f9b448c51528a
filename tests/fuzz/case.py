"""Cases of one kind, each with a seed of its own; what each may take; what is counted.

A case is made of the seed of the campaign, its kind and its number, and of nothing else. So it can
be run alone, and campaigns that begin where another ended add up.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.fuzz.limits import (
    MOST_KB,
    TooLongError,
    in_time,
    limit_memory,
    not_waiting,
    peak_kb,
)

#: How an input ended that was refused, as it should.
REFUSED = "refused"
#: Files are small and many; None is where the system puts temporary files.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_LONGEST = 1500


@dataclass
class Case:
    """One input that is made, and used.

    Args:
        chance: decides everything.
        folder: where files may be written.
        seen: what was seen, by the words that are counted.
        broken: every rule that was broken, in words.
    """

    chance: Random
    folder: Path
    seen: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


#: Makes an input and uses it; returns how that ended: REFUSED, or in other words.
Kind = Callable[[Case], str]


@dataclass
class Tally:
    """What cases of one kind came to.

    Args:
        cases: how many there were.
        seen: how often each thing was seen; how each case ended is among it.
        broken: every rule that was broken, with the number of the case.
        slowest_s: processor time of the slowest, in seconds.
        slowest: its number.
        peak_kb: memory of the process at most.
    """

    cases: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1
    peak_kb: int = 0

    def add(self, more: Tally) -> None:
        """Take in what further cases came to."""
        self.cases += more.cases
        self.seen.update(more.seen)
        self.broken += more.broken
        if more.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = more.slowest_s, more.slowest
        self.peak_kb = max(self.peak_kb, more.peak_kb)


def run_cases(kind: Kind, count: int, seed: str, first: int = 0, *, alone: bool = False) -> Tally:
    """Run cases of a kind, one after the other.

    Args:
        kind: makes and uses one input.
        count: how many.
        seed: of the campaign.
        first: the number of the first.
        alone: whether this process is there for nothing else, so that it can be limited.
    """
    tally = Tally()
    with TemporaryDirectory(prefix="envoyassert-fuzz-", dir=_MEMORY) as name:
        folder = Path(name)
        kind(Case(Random("warm"), folder))  # what is read and built once is no part of a case
        if alone:
            limit_memory()
        before_kb = peak_kb()
        for number in range(first, first + count):
            case = Case(Random(f"{seed} {kind.__name__} {number}"), folder, tally.seen)
            begun_s = time.process_time()
            _run(kind, case, alone=alone)
            took_s = time.process_time() - begun_s
            if took_s > tally.slowest_s:
                tally.slowest_s, tally.slowest = took_s, number
            tally.peak_kb = peak_kb()
            if tally.peak_kb - before_kb > MOST_KB:
                case.broken.append(f"{(tally.peak_kb - before_kb) >> 10} MiB more memory")
                before_kb = tally.peak_kb
            tally.broken += [f"case {number}: {text[:_LONGEST]}" for text in case.broken]
            tally.cases += 1
    return tally


def _run(kind: Kind, case: Case, *, alone: bool) -> None:
    try:
        with in_time(), not_waiting() if alone else contextlib.nullcontext():
            case.seen[kind(case)] += 1
    except (Exception, TooLongError) as error:  # noqa: BLE001 - that is what is looked for
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        at = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames))
        case.broken.append(f"{type(error).__name__}: {error} at {at}")
