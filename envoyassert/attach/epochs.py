"""The Envoys of a hot restart, which are recorded one by one, watched as one run."""

from __future__ import annotations

from envoyassert.live.traces import MOST_EPOCHS, joined_epochs
from envoyassert.option_read_back import Option
from envoyassert.probe import ProbeSnapshot, RunCounters, Watch


class Epochs:
    """Several arms as one; see `Watch`.

    Args:
        first: the arm of the Envoy that was first.
    """

    def __init__(self, first: Watch) -> None:
        self._arms = [first]

    @property
    def run_id(self) -> str:
        """What the first one is marked with."""
        return self._arms[0].run_id

    @property
    def tracer(self) -> str:
        """Who records."""
        return self._arms[0].tracer

    @property
    def unobserved(self) -> tuple[str, ...]:
        """What is not covered."""
        return self._arms[0].unobserved

    @property
    def is_full(self) -> bool:
        """Whether no further one can be added."""
        return len(self._arms) >= MOST_EPOCHS

    def add(self, arm: Watch) -> None:
        """Watch another one too."""
        self._arms = [*self._arms, arm]

    def drain(self, deadline_s: float) -> None:
        """Receive all that happened so far."""
        for arm in self._arms:
            arm.drain(deadline_s)

    def snapshot(self) -> ProbeSnapshot:
        """Return what was received."""
        found = [arm.snapshot() for arm in self._arms]
        events, cpus = joined_epochs([(one.events, one.cpus) for one in found])
        return ProbeSnapshot(
            events,
            cpus,
            max(one.misses for one in found),
            all(one.drained for one in found),
            all(one.marked for one in found),
        )

    def options(self) -> frozenset[Option]:
        """Return which socket options were set."""
        return frozenset().union(*(arm.options() for arm in self._arms))

    def emitted(self) -> int:
        """Return how many records there are by now."""
        counters: list[RunCounters] = [arm.counters() for arm in self._arms]
        return sum(one.emitted for one in counters)
