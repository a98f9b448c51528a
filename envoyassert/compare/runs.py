"""The same runs on two Envoys, pair by pair, at the end of each phase, or on several in a row.

What differs is for programs, for people (plain lines), and as JSON types. Of several candidates the
first bad one is found by as few tests as it takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
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
from envoyassert.compare.diff_text import (
    difference_json,
    difference_lines,
    side_json,
    time_json,
    time_lines,
)
from envoyassert.compare.profile import Profile, profile_of
from envoyassert.graph.cut import cut
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.verdict import Status
from envoyassert.report.table import columns, count, wrapped
from envoyassert.steps.registry import KINDS
from envoyassert.trace import Phase, Trace

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


FORMAT = "envoyassert-against/1"


def runs_lines(pairs: Sequence[RunPair], before: str, after: str) -> list[str]:
    """Return a table of all runs, what differs in words, and a last line with the answer.

    Args:
        pairs: the runs, in the order in which they are shown.
        before: the old Envoy.
        after: the new Envoy.
    """
    rows = [[before, after, "answer", "run"]]
    for pair in pairs:
        number = len(pair.differences)
        more = f": {count(number, 'difference')}" if number else ""
        rows.append([pair.before.text, pair.after.text, pair.result + more, pair.title])
    lines = columns(rows)
    for titles, shown in _together(pairs):
        lines += ["", *wrapped(", ".join(titles)), *(f"  {line}" for line in shown)]
    times = typical_times(pairs)
    if times:
        lines += ["", "times, medians of all runs", *time_lines(times)]
    return [*lines, "", *wrapped(answer_words(pairs, before, after), hang="  ")]


def _together(pairs: Sequence[RunPair]) -> list[tuple[list[str], tuple[str, ...]]]:
    """Return the titles of runs that differ in the same ways, with how."""
    found: dict[tuple[str, ...], list[str]] = {}
    for pair in pairs:
        lines = difference_lines(pair.differences)
        for problem in pair.problems:
            lines += wrapped(problem, hang="  ")
        if lines:
            found.setdefault(tuple(lines), []).append(pair.title)
    return [(titles, lines) for lines, titles in found.items()]


def answer_words(pairs: Sequence[RunPair], before: str, after: str) -> str:
    """Return the answer over all runs: `same: 48 runs on 1.36.4 and on 1.40.0`."""
    results = Counter(pair.result for pair in pairs)
    kinds = (SAME, DIFFERENT, UNKNOWN, SKIPPED)
    parts = [f"{results[name]} {name}" for name in kinds if results[name]]
    words = f"{compared(pairs)}: {count(len(pairs), 'run')} on {before} and on {after}"
    if len(parts) > 1:
        words += f" ({', '.join(parts)})"
    for status, verb in ((Status.FAIL, "fails"), (Status.INCONCLUSIVE, "leaves INCONCLUSIVE")):
        number = sum(pair.after.status is status for pair in pairs)
        if number:
            words += f"; {after} {verb} {count(number, 'run')}"
    return words


def runs_json(pairs: Sequence[RunPair], before: str, after: str) -> dict[str, object]:
    """Return the same as JSON types."""
    return {
        "format": FORMAT,
        "result": overall(pairs),
        "before": before,
        "after": after,
        "runs": [
            {
                "run": pair.title,
                "result": pair.result,
                "before": _side(pair.before, before),
                "after": _side(pair.after, after),
                "differences": [difference_json(one) for one in pair.differences],
                "problems": list(pair.problems),
            }
            for pair in pairs
        ],
        "times": [time_json(time) for time in typical_times(pairs)],
    }


def _side(side: RunSide, name: str) -> dict[str, object]:
    seen = {"name": name} if side.profile is None else side_json(side.profile, name)
    return {**seen, "verdict": side.text, "problem": side.problem}


@dataclass(frozen=True)
class Seen:
    """What was seen of a run.

    Args:
        status: the scenario's verdict.
        profiles: the facts at the end of each phase; without steps there is one of no name.
    """

    status: Status
    profiles: Mapping[str, Profile]


def profiles_of(trace: Trace, graph: SocketGraph | None = None) -> dict[str, Profile]:
    """Return the facts of a run at the end of each phase.

    So what is open, served and registered is shown of an Envoy that was running then, however it
    ended later. A step that is over before Envoy has noticed is shown with the one after it.

    Args:
        trace: the run.
        graph: its socket graph, if it is at hand.
    """
    if not trace.phases:
        return {"": profile_of(trace, graph)}
    *others, last = trace.phases
    settled = [phase for phase in others if not _is_over_unnoticed(phase)]
    return {phase.name: profile_of(cut(trace, phase)) for phase in (*settled, last)}


def _is_over_unnoticed(phase: Phase) -> bool:
    kind = KINDS.get(phase.kind)  # a trace may be of a kind that is not known here
    return kind is not None and kind.is_over_unnoticed


def differences_of(before: Seen, after: Seen) -> tuple[Difference, ...]:
    """Return what differs between two runs, each difference at the first phase that shows it."""
    shown: set[tuple[str, str]] = set()
    found: list[Difference] = []
    for number, phase in enumerate(after.profiles):
        if phase not in before.profiles:
            continue
        # The verdict is one for all phases.
        sides = [
            RunSide(seen.profiles[phase], None if number else seen.status)
            for seen in (before, after)
        ]
        for one in RunPair(phase, *sides).differences:
            if (one.subject, one.words) not in shown:
                shown.add((one.subject, one.words))
                found.append(replace(one, subject=in_phase(one.subject, phase if number else "")))
    return tuple(found)


def in_phase(subject: str, phase: str) -> str:
    """Return a subject with its phase: `0.0.0.0:80 (ingress), at the end of drain`."""
    return f"{subject}, at the end of {phase}" if phase else subject


class GoodOrBad(Enum):
    """What a test said of a candidate."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Boundary:
    """Where good ends and bad begins.

    Args:
        good: the last candidate that is good.
        bad: the first one after it that is bad.
        skipped: those in between, which could not be judged.
    """

    good: str
    bad: str
    skipped: tuple[str, ...]


def bisect(candidates: Sequence[str], test: Callable[[str], GoodOrBad]) -> Boundary:
    """Return the boundary between good and bad.

    Args:
        candidates: in their order; the first is known to be good, the last to be bad.
        test: says what a candidate is; SKIPPED if that is not known, and it is not asked again.
    """
    good, bad = 0, len(candidates) - 1
    skipped: set[int] = set()
    while untold := [index for index in range(good + 1, bad) if index not in skipped]:
        middle = (good + bad) / 2
        index = min(untold, key=lambda index: abs(index - middle))
        answer = test(candidates[index])
        if answer is GoodOrBad.GOOD:
            good = index
        elif answer is GoodOrBad.BAD:
            bad = index
        else:
            skipped.add(index)
    return Boundary(candidates[good], candidates[bad], tuple(candidates[good + 1 : bad]))


def path_between(good: str, bad: str, named: Sequence[str]) -> list[str]:
    """Return the candidates on the way from good to bad.

    Args:
        good: the one that is good.
        bad: the one that is bad.
        named: candidates in their order; good and bad may be among them.
    """
    if good in named and bad in named:
        first, last = named.index(good), named.index(bad)
        if first < last:
            return list(named[first : last + 1])
        return list(reversed(named[last : first + 1]))
    return [good, *_others(named, good, bad), bad]


def _others(named: Sequence[str], *ends: str) -> Iterator[str]:
    yield from (name for name in named if name not in ends)
