"""What one way of a change came to: what was observed, and what the model says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import Change, Kind
from envoyassert.trace import Trace
from envoyassert.transition.difference import Difference, differences
from envoyassert.transition.observed import Observed, ObservedListener
from envoyassert.transition.reading import observed_of
from envoyassert.transition.scenario import Transition


@dataclass(frozen=True)
class Report:
    """One way of a change: what was observed, and where the model says something else.

    Args:
        observed: what the runs showed.
        change: what the model says; None where it was not asked.
    """

    observed: Observed
    change: Change | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Where the model says something else than the run."""
        return differences(self.change, self.observed) if self.change else ()

    @property
    def result(self) -> str:
        """`trouble`, `loses`, `changes` or `none`: the first that is so."""
        seen = self.observed
        if seen.problem:
            return "trouble"
        if seen.loses or seen.is_refused:
            return "loses"
        if seen.missing:
            return "trouble"
        return "changes" if any(map(changes, seen.listeners)) else "none"


def report_of(transition: Transition, run: Trace, queue: Trace | None) -> Report:
    """Return what a change came to. Arguments as `observed_of` takes them."""
    seen = observed_of(transition, run, queue)
    if transition.configs is None:
        return Report(seen)
    change = predict_change(*transition.configs, transition.way, version=seen.version)
    return Report(seen, change)


def changes(listener: ObservedListener) -> bool:
    """Return whether anything happened to a listener."""
    return listener.kind is not Kind.SAME or listener.loses


def result_of(reports: Sequence[Report]) -> str:
    """Return the result of all ways: a loss that was seen outweighs what could not be tried."""
    found = {report.result for report in reports}
    order = ("loses", "trouble", "changes", "none")
    return next((result for result in order if result in found), "none")
