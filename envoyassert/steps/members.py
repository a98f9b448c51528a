"""The Envoys of one run, in the order in which they were started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from envoyassert.launch.base import RunningEnvoy, tail
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace import Member, Outcome
from envoyassert.witness import take_witness


@dataclass(frozen=True)
class Started:
    """One Envoy of a run: what was asked for, and how its start went."""

    name: str
    plan: RunPlan
    envoy: RunningEnvoy
    outcome: Outcome

    def told(self, in_netns: Callable[[Callable[[], Any]], Any]) -> Member:
        """Return how it fares now, with an account if it runs."""
        outcome = outcome_of(self.envoy, self.outcome)
        witness = None
        if outcome.running:
            # Asked by way of the kernel alone: an admin endpoint may have been handed on.
            witness = take_witness(self.envoy.pid, in_netns, None)
        return Member(self.name, self.envoy.pid, self.plan.workers, outcome, witness)


def outcome_of(envoy: RunningEnvoy, outcome: Outcome) -> Outcome:
    """Return how an Envoy fared until now.

    Args:
        envoy: the process.
        outcome: how its start went.
    """
    end = envoy.exited()
    if end is None or not outcome.running:
        return outcome
    return dataclasses.replace(
        outcome, exit_code=end.exit_code, signal=end.signal, log_tail=tail(envoy.log())
    )
