"""The same runs on two Envoys, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from envoyassert.compare.comparison import (
    DIFFERENT,
    SAME,
    TOLERANCE_MS,
    UNKNOWN,
    Comparison,
    Difference,
    TimeDifference,
    compare_profiles,
    shifts,
)
from envoyassert.compare.profile import Profile
from envoyassert.judge.verdict import Status

#: Of a pair that a scenario's requirements exclude on one of the Envoys.
SKIPPED = "skipped"


@dataclass(frozen=True)
class RunSide:
    """One run on one Envoy.

    Args:
        profile: what was seen, None if it could not be run.
        status: the scenario's verdict, None if it could not be run.
        problem: why it could not be run, or "".
        skipped: whether that is no fault: the scenario does not apply to this Envoy.
    """

    profile: Profile | None = None
    status: Status | None = None
    problem: str = ""
    skipped: bool = False

    @property
    def text(self) -> str:
        """Its verdict, `skipped`, or `error`."""
        if self.status is not None:
            return self.status.value
        return SKIPPED if self.skipped else "error"


NOT_RUN = RunSide(problem="it was not run")


@dataclass(frozen=True)
class RunPair:
    """One run of a scenario on the old Envoy and on the new one.

    Args:
        title: the run's id without the Envoy: `reuse_port[concurrency=2]`.
        before: on the old one.
        after: on the new one.
    """

    title: str
    before: RunSide = NOT_RUN
    after: RunSide = NOT_RUN

    @cached_property
    def comparison(self) -> Comparison | None:
        """What was seen of both, None if one of them could not be run; times are elsewhere."""
        if self.before.profile is None or self.after.profile is None:
            return None
        return compare_profiles(self.before.profile, self.after.profile)

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """What differs, the scenario's verdict included."""
        if self.comparison is None:
            return ()
        old, new = self.before.text, self.after.text
        if old == new:
            return self.comparison.differences
        words = f"the scenario's verdict is {new} instead of {old}"
        sure = Status.INCONCLUSIVE not in (self.before.status, self.after.status)
        return (
            *self.comparison.differences,
            Difference("the run", "verdict", old, new, words, sure),
        )

    @property
    def result(self) -> str:
        """SAME, DIFFERENT, UNKNOWN or SKIPPED."""
        if self.comparison is None:
            sides = (self.before, self.after)
            lacking = [side for side in sides if side.profile is None]
            return SKIPPED if all(side.skipped for side in lacking) else UNKNOWN
        if any(difference.sure for difference in self.differences):
            return DIFFERENT
        return UNKNOWN if self.differences else self.comparison.result

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it could not be compared, or not for sure."""
        found = []
        for side in (self.before, self.after):
            if side.problem:
                found.append(side.problem)
            elif side.profile is not None and not side.profile.whole:
                found.append(f"incomplete: {'; '.join(side.profile.missing)}")
        return tuple(dict.fromkeys(found))


def compared(pairs: Sequence[RunPair]) -> str:
    """Return the answer of all comparisons: SAME, DIFFERENT, or UNKNOWN, also if there is none."""
    results = {pair.result for pair in pairs}
    if DIFFERENT in results:
        return DIFFERENT
    return SAME if SAME in results and UNKNOWN not in results else UNKNOWN


def overall(pairs: Sequence[RunPair]) -> str:
    """Return what the exit code stands for: SAME, DIFFERENT or UNKNOWN.

    What is broken must not look fine, though the old Envoy is broken just so: DIFFERENT also where
    the new one fails a scenario, UNKNOWN also where one is INCONCLUSIVE on it.
    """
    answer = compared(pairs)
    statuses = {pair.after.status for pair in pairs}
    if answer == DIFFERENT or Status.FAIL in statuses:
        return DIFFERENT
    return UNKNOWN if Status.INCONCLUSIVE in statuses else answer


def typical_times(
    pairs: Sequence[RunPair], tolerance_ms: float = TOLERANCE_MS
) -> tuple[TimeDifference, ...]:
    """Return how the medians over all runs shifted, as far as that is beyond the tolerance."""
    times: dict[str, tuple[list[float], list[float]]] = {}
    for pair in pairs:
        if pair.before.profile is None or pair.after.profile is None:
            continue
        before, after = pair.before.profile.times, pair.after.profile.times
        for milestone in before.keys() & after.keys():
            olds, news = times.setdefault(milestone, ([], []))
            olds.append(before[milestone])
            news.append(after[milestone])
    medians = [
        {milestone: round(median(both[side]), 3) for milestone, both in times.items()}
        for side in (0, 1)
    ]
    return tuple(shifts(medians[0], medians[1], tolerance_ms))
