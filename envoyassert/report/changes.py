"""What would make a failed run pass: for the first failures, tried on the same trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envoyassert.graph.model import SocketGraph
from envoyassert.judge.counterfactual import Change, counterfactual
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.report.config_change import config_change
from envoyassert.report.headline import deciding
from envoyassert.report.places import Finder, nowhere
from envoyassert.scenario.conditional import Conditional
from envoyassert.trace import Trace

#: For how many failures it is looked for.
_FAILURES = 3

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Remedy:
    """What would make one atom hold.

    Args:
        change: the change of the scenario, which was tried.
        config: what to set in Envoy's config instead, which was not; or "".
    """

    change: Change
    config: str

    @property
    def words(self) -> str:
        """Both in one sentence."""
        text = f"with {self.change.words} in the scenario"
        return text + (f", or else try {self.config} in the config" if self.config else "")


def remedies(
    verdict: Verdict,
    trace: Trace,
    graph: SocketGraph,
    expectations: Sequence[tuple[int, Conditional]],
    *,
    workers: int,
    assume: tuple[str, ...] = (),
    place: Finder = nowhere,
) -> dict[Path, Remedy]:
    """Return what would make the first failures hold, by the path of their atoms.

    Args:
        verdict: the judgement.
        trace: what was judged.
        graph: what it folds into.
        expectations: what it was judged by.
        workers: the number of workers that was asked for.
        assume: what the scenario takes for granted.
        place: finds the place of a finding in the scenario file, for their order.
    """
    if verdict.status is not Status.FAIL:
        return {}
    found: dict[Path, Remedy] = {}
    for finding in deciding(verdict, place)[:_FAILURES]:
        change = counterfactual(trace, graph, finding, expectations, workers=workers, assume=assume)
        if change is not None:
            field = config_change(change, finding.subject, trace.header.listeners, workers)
            found[finding.path] = Remedy(change, field)
    return found
