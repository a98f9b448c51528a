"""What an atlas shows: a state for each scenario on each Envoy, and what changed in between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from envoyassert.compare.comparison import Difference
from envoyassert.report.parts import MachinePart
from envoyassert.report.results import RunDocument
from envoyassert.versions import version_key


class AtlasState(Enum):
    """How a run ended; the worst one decides for several."""

    FAILED = "failed"
    ERROR = "not judged"
    INCONCLUSIVE = "inconclusive"
    KNOWN_DEFECT = "known defect"
    PASSED = "passed"
    NOT_APPLICABLE = "not applicable"

    @property
    def slug(self) -> str:
        """The state as one word: `known-defect`."""
        return self.value.replace(" ", "-")


#: By the outcome in the results; what an xfail mark of the user's excuses is known to them.
STATES = {
    "passed": AtlasState.PASSED,
    "failed": AtlasState.FAILED,
    "known_defect": AtlasState.KNOWN_DEFECT,
    "xfailed": AtlasState.KNOWN_DEFECT,
    "inconclusive": AtlasState.INCONCLUSIVE,
    "skipped": AtlasState.NOT_APPLICABLE,
    "error": AtlasState.ERROR,
}


#: The folder of a run, whose name says nothing: it is another one in each.
_FOLDER = re.compile(r"(?:/[^/\s]+)*/envoyassert-\d+/[^/\s]+(?=/)")


@dataclass(frozen=True)
class AtlasRun:
    """One run in the atlas.

    Args:
        scenario: name of its scenario.
        values: its matrix values without the concurrency: `enable_reuse_port=false`, or "".
        envoy: the Envoy that was asked for: `1.40.0`, an image, a path.
        launcher: `docker` or `process`; `auto` if that was asked for and it was not executed.
        asked_launcher: the one that was asked for.
        concurrency: the number of workers that was asked for.
        state: how it ended.
        reason: why it did not pass, or "".
        page: where its page is, relative to the index; "" if it has none.
        defect: the known defect that explains it, as the scenario states it; "" if none does.
    """

    scenario: str
    values: str
    envoy: str
    launcher: str
    asked_launcher: str
    concurrency: int
    state: AtlasState
    reason: str = ""
    page: str = ""
    defect: str = ""

    @property
    def explanation(self) -> tuple[str, str]:
        """What runs with the same explanation have in common.

        What was seen of a known defect differs from run to run.
        """
        return self.scenario, self.defect or self.reason

    @property
    def title(self) -> str:
        """The run without scenario and Envoy: `concurrency 2, enable_reuse_port=false`."""
        return f"concurrency {self.concurrency}" + (f", {self.values}" if self.values else "")

    @property
    def row(self) -> tuple[str, str, int, str]:
        """What the same run on all Envoys has in common."""
        return self.scenario, self.asked_launcher, self.concurrency, self.values


@dataclass(frozen=True)
class VersionChange:
    """What is different on one Envoy from what it was on the one before.

    Args:
        before: the older Envoy.
        after: the newer one.
        scenario: the scenario that showed it.
        runs: the runs of it that differ in this way.
        words: each difference: what it is about, and the difference in words.
    """

    before: str
    after: str
    scenario: str
    runs: tuple[str, ...]
    words: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """A scenario on one Envoy."""

    runs: tuple[AtlasRun, ...]

    @property
    def state(self) -> AtlasState | None:
        """The worst state of its runs, None if there are none."""
        states = {run.state for run in self.runs}
        return next((state for state in AtlasState if state in states), None)

    @property
    def text(self) -> str:
        """The state with how many runs it holds for: `6 passed`, `1 of 6 failed`."""
        state = self.state
        if state is None:
            return "-"
        number = sum(run.state is state for run in self.runs)
        total = len(self.runs)
        return (
            f"{number} {state.value}" if number == total else f"{number} of {total} {state.value}"
        )


@dataclass(frozen=True)
class Atlas:
    """Runs of scenarios on several Envoys.

    Args:
        runs: every run.
        changes: what differs between neighbours.
        descriptions: the description of each scenario.
        machine: where it was run.
        started: when, UTC.
        complete: whether the session came to its end.
    """

    runs: tuple[AtlasRun, ...]
    changes: tuple[VersionChange, ...] = ()
    descriptions: dict[str, str] = field(default_factory=dict)
    machine: MachinePart | None = None
    started: str = ""
    complete: bool = True

    @cached_property
    def envoys(self) -> list[str]:
        """The Envoys, versions in their order; others in the order in which they were named."""
        return in_order(run.envoy for run in self.runs)

    @cached_property
    def scenarios(self) -> list[str]:
        """The scenarios by name."""
        return sorted({run.scenario for run in self.runs})

    @cached_property
    def worst_first(self) -> list[str]:
        """The scenarios by name, those before all others of which a run asks for a look."""
        states = [AtlasState.FAILED, AtlasState.ERROR, AtlasState.INCONCLUSIVE]
        rank = {scenario: len(states) for scenario in self.scenarios}
        for run in self.runs:
            if run.state in states:
                rank[run.scenario] = min(rank[run.scenario], states.index(run.state))
        return sorted(self.scenarios, key=lambda scenario: rank[scenario])

    @cached_property
    def counts(self) -> Counter[AtlasState]:
        """How many runs ended in which state."""
        return Counter(run.state for run in self.runs)

    def of_scenario(self, scenario: str) -> list[AtlasRun]:
        """Return the runs of a scenario."""
        return [run for run in self.runs if run.scenario == scenario]

    def first_with_page(self, scenario: str) -> AtlasRun | None:
        """Return the run of a scenario that is looked at first: the worst that has a page."""
        states = [*AtlasState]
        found = [run for run in self.of_scenario(scenario) if run.page]
        return min(found, key=lambda run: states.index(run.state), default=None)

    def cell(self, scenario: str, envoy: str) -> Cell:
        """Return the runs of a scenario on one Envoy."""
        found = [run for run in self.of_scenario(scenario) if run.envoy == envoy]
        return Cell(tuple(sorted(found, key=lambda run: run.row)))

    def changes_at(self, envoy: str) -> list[VersionChange]:
        """Return what is different on an Envoy from what it was on the one before."""
        return [change for change in self.changes if change.after == envoy]


def in_order(envoys: Iterable[str]) -> list[str]:
    """Return each Envoy once: sorted, if all of them are versions, else in the order given."""
    found = list(dict.fromkeys(envoys))
    try:
        return sorted(found, key=version_key)
    except ValueError:
        return found


def atlas_run(document: RunDocument, page: str = "") -> AtlasRun:
    """Return a run of the results as the atlas shows it.

    Args:
        document: the run's.
        page: where its page is, relative to the index, or "".
    """
    matrix = document.scenario.matrix
    values = [f"{axis}={value}" for axis, value in matrix.items() if axis != "concurrency"]
    asked = document.asked
    return AtlasRun(
        document.scenario.name,
        ", ".join(values),
        asked.envoy,
        document.envoy.launcher if document.envoy else asked.launcher,
        asked.launcher,
        asked.concurrency,
        STATES[document.outcome],
        _FOLDER.sub("…", document.reason),
        page,
        document.defect,
    )


def changes_of(
    pairs: Iterable[tuple[AtlasRun, AtlasRun, tuple[Difference, ...]]],
) -> list[VersionChange]:
    """Return what differs between neighbours, runs that differ in the same way together.

    Args:
        pairs: for each run on two neighbouring Envoys: both, and what differs.
    """
    found: dict[tuple[str, str, str, tuple[tuple[str, str], ...]], list[str]] = {}
    for old, new, differences in pairs:
        words = tuple(
            (one.subject, one.words + ("" if one.sure else " (not sure)")) for one in differences
        )
        if words:
            key = (old.envoy, new.envoy, new.scenario, words)
            found.setdefault(key, []).append(f"{new.title}, {new.launcher}")
    return [
        VersionChange(before, after, scenario, tuple(runs), words)
        for (before, after, scenario, words), runs in found.items()
    ]
