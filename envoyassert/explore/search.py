"""Many cases, one after the other, until the time is over; each difference is cut down."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from envoyassert.explore.case import Case
from envoyassert.explore.difference import CRASH, Difference, Known, kind_of
from envoyassert.explore.sequences import MOST_STEPS, sequence_of
from envoyassert.explore.smaller import cut_down
from envoyassert.explore.trial import Outcome, Tried

#: Cases of one round of Hypothesis, which begins with simple ones.
_ROUND = 100
#: Seconds and runs for cutting one difference down: by Hypothesis, and then in all.
_SHRINK_S = (60.0, 90.0)
_SHRINK_RUNS = (200, 300)


@dataclass(frozen=True)
class Found:
    """A kind of difference that is not known.

    Args:
        kind: its name, by the fields of the smallest case.
        case: the smallest case that shows it.
        differences: what differs there.
        tried: what came of that case.
        runs: how many it took to cut it down.
    """

    kind: str
    case: Case
    differences: tuple[Difference, ...]
    tried: Tried
    runs: int

    @property
    def crashed(self) -> bool:
        """Whether Envoy crashed."""
        return self.differences[0].fact == CRASH


@dataclass
class Counts:
    """What came of all cases so far, cut down ones left out."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    compared: int = 0
    declined: int = 0
    #: How often each known difference was met, by its kind.
    met: Counter[str] = field(default_factory=Counter)
    #: Why cases were refused or are open.
    said: Counter[str] = field(default_factory=Counter)
    #: How often Envoy did what the model of change says, and a fresh start would not.
    foreseen: Counter[str] = field(default_factory=Counter)
    shrinking: int = 0
    found: list[Found] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """How many cases were tried."""
        return self.outcomes.total()

    @property
    def declined_share(self) -> float:
        """The share of all facts that the model declines, from 0 to 1."""
        return self.declined / max(1, self.compared + self.declined)


class _DiffersError(Exception):
    """A case differs."""


class _Stop(BaseException):
    """Something else than a case ends the search; Hypothesis lets it pass."""


class _Enough(_Stop):
    """The time for this is over."""


class Search:
    """Tries cases.

    Args:
        attempt: tries one.
        known: the kinds of differences that are known.
        version: of Envoy.
        ends_s: `time.monotonic()` at which no case begins any more.
        notice: is called after each case.
        shrink: whether differences are cut down; if not, the search goes on past each.
    """

    def __init__(
        self,
        attempt: Callable[[Case], Tried],
        known: Sequence[Known],
        version: str,
        ends_s: float,
        notice: Callable[[Case, Tried], None] | None = None,
        *,
        shrink: bool = True,
    ) -> None:
        self.counts = Counts()
        self._attempt = attempt
        self._known = list(known)
        self._names = {one.kind for one in known}
        self._version = version
        self._ends_s = ends_s
        self._notice = notice
        self._shrink = shrink
        self._reset()

    def _reset(self) -> None:
        self._target: tuple[str, str] | None = None
        self._smallest: tuple[Case, Tried] | None = None
        self._seen: dict[str, Tried] = {}
        self._began_s = 0.0
        self._shrink_runs = 0
        self._stage = 0

    @property
    def is_cutting(self) -> bool:
        """Whether a difference is being cut down."""
        return self._target is not None

    def rounds(self, cases: SearchStrategy[Case], first_seed: int) -> Iterator[Found]:
        """Yield each kind of difference that is not known, cut down, until the time is over.

        Args:
            cases: makes cases.
            first_seed: by which they are made; each round has the next one.
        """
        number = first_seed
        while time.monotonic() < self._ends_s:
            found = self.round(cases, number, _ROUND)
            if found is not None:
                yield found
            found = self.round_of_sequences(self._version, number, _ROUND)
            if found is not None:
                yield found
            number += 1

    def round(self, cases: SearchStrategy[Case], number: int, most: int) -> Found | None:
        """Try cases up to the first difference that is not known; return that, cut down.

        Args:
            cases: makes cases.
            number: the seed.
            most: how many cases.
        """
        self._reset()
        test = settings(self._settings(most))(given(cases)(self._property))
        self._run(seed(number)(test))
        return self._take()

    def round_of_sequences(self, version: str, number: int, most: int) -> Found | None:
        """Try sequences of steps up to the first difference; return that, cut down.

        Args:
            version: of Envoy.
            number: the seed.
            most: how many sequences.
        """
        self._reset()
        machine = seed(number)(sequence_of(version, self.look))
        configured = settings(self._settings(most), stateful_step_count=MOST_STEPS)
        self._run(lambda: run_state_machine_as_test(machine, settings=configured))
        return self._take()

    def _settings(self, most: int) -> settings:
        return settings(
            max_examples=most,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if self._shrink else (Phase.generate,),
            report_multiple_bugs=False,
            print_blob=False,
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )

    def _run(self, test: Callable[[], None]) -> None:
        """Have Hypothesis call a test until that raises, and nothing smaller does.

        Where it says that the test is flaky, the smallest case that differed is kept: what Envoy
        does may depend on time.
        """
        try:
            test()
        except (_DiffersError, _Enough, Flaky):
            pass
        except _Stop as stop:
            raise stop.args[0] from None

    def _property(self, case: Case) -> None:
        self.look(case)

    def note(self, case: Case, tried: Tried) -> None:
        """Count a case that was tried elsewhere, and what of it is not known."""
        self._count(case, tried)
        new = [one for one in tried.differences if self._explains(one, case) is None]
        if new:
            self._note(new, case, tried)

    def look(self, case: Case) -> None:
        """Try a case; raise an exception for Hypothesis if it differs, another if time is over."""
        tried = self._tried(case)
        new = [one for one in tried.differences if self._explains(one, case) is None]
        if new and not self._shrink:
            self._note(new, case, tried)
            return
        if self._target is None and new:
            self._target = (new[0].way, new[0].fact)
            self._began_s = time.monotonic()
        if self._target is not None and self._target in {(one.way, one.fact) for one in new}:
            self._smallest = (case, tried)
            raise _DiffersError

    def _still(self, case: Case) -> bool:
        """Return whether a case shows the difference that is cut down."""
        try:
            self.look(case)
        except _DiffersError:
            return True
        except _Enough:
            pass
        return False

    def _tried(self, case: Case) -> Tried:
        """Return what came of a case, now or before."""
        if case.key in self._seen:
            return self._seen[case.key]
        shrinking = self._target is not None
        if not self._has_time(shrinking=shrinking):
            raise _Enough
        try:
            tried = self._attempt(case)
        except (Exception, SystemExit) as error:
            # Hypothesis would take it for a difference.
            raise _Stop(error) from error
        self._seen[case.key] = tried
        if shrinking:
            self._shrink_runs += 1
            self.counts.shrinking += 1
        else:
            self._count(case, tried)
        if self._notice is not None:
            self._notice(case, tried)
        return tried

    def _has_time(self, *, shrinking: bool) -> bool:
        now_s = time.monotonic()
        if not shrinking:
            return now_s < self._ends_s
        few = self._shrink_runs < _SHRINK_RUNS[self._stage]
        return few and now_s < self._began_s + _SHRINK_S[self._stage]

    def _count(self, case: Case, tried: Tried) -> None:
        counts = self.counts
        counts.outcomes[tried.outcome] += 1
        counts.compared += tried.compared
        counts.declined += tried.declined
        counts.foreseen.update(tried.foreseen)
        if tried.outcome in (Outcome.REFUSED, Outcome.OPEN):
            counts.said[tried.said] += 1
        kinds = {self._explains(one, case) for one in tried.differences}
        counts.met.update(kind for kind in kinds if kind in self._names)

    def _explains(self, difference: Difference, case: Case) -> str | None:
        for one in self._known:
            if one.explains(difference, case, self._version):
                return one.kind
        return None

    def _take(self) -> Found | None:
        """Return what a round found; from now on it is known."""
        if self._smallest is None or self._target is None:
            return None
        if self._shrink:
            # What depends on several draws at once, Hypothesis may leave.
            self._stage = 1
            cut_down(self._smallest[0], self._still)
        case, tried = self._smallest
        new = [one for one in tried.differences if self._explains(one, case) is None]
        new.sort(key=lambda one: (one.way, one.fact) != self._target)
        return self._note(new, case, tried)

    def _note(self, new: Sequence[Difference], case: Case, tried: Tried) -> Found:
        """Take note of a difference; from now on it is known."""
        # What was not cut down is particular about far too much.
        first = new[0]
        rough = Known(f"{first.way} {first.fact}", (first.way,))
        kind = kind_of(first, case) if self._shrink or first.fact == CRASH else rough
        # What else differs in the case is the same, seen from another side.
        facts = tuple(dict.fromkeys(one.fact for one in new))
        self._known.append(replace(kind, facts=facts))
        found = Found(kind.kind, case, tuple(new), tried, self._shrink_runs)
        self.counts.found.append(found)
        return found
