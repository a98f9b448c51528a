"""Starting another Envoy beside the first, and hot restart."""

from __future__ import annotations

import time

from envoyassert.driver.base import Driver, wait_until
from envoyassert.steps.another import HotRestartStep, StartStep, epoch_of, with_epoch
from envoyassert.steps.base import StepResult


class StartDriver(Driver[StartStep]):
    """Starts another Envoy; that it ends at once is a fact to be judged."""

    step = StartStep

    def carry_out(self, step: StartStep, deadline_s: float) -> StepResult:
        """Start it, and wait until it is ready or has ended."""
        wanted = step.start
        if epoch_of(self.envoy.plan.args):
            # What the one before took over is no matter of an Envoy that takes over nothing.
            wanted = wanted.model_copy(update={"args": with_epoch(wanted.args, 0)})
        return StepResult(missed=self.envoy.start_another(step.phase, wanted, deadline_s))


class HotRestartDriver(Driver[HotRestartStep]):
    """Starts the next epoch."""

    step = HotRestartStep

    def carry_out(self, step: HotRestartStep, deadline_s: float) -> StepResult:
        """Start it, and wait for the end of the epoch before."""
        envoy = self.envoy
        end_s = time.monotonic() + deadline_s
        before = envoy.current()
        # Of the Envoy that goes on: another one may have been started before it.
        epoch = epoch_of(envoy.plan.args)
        args = with_epoch(step.hot_restart.args, epoch + 1)
        wanted = step.hot_restart.model_copy(update={"args": args})
        missed = envoy.start_another(step.phase, wanted, deadline_s)
        if missed:
            return StepResult(missed=missed)
        left_s = max(0.0, end_s - time.monotonic())
        over = wait_until(envoy, left_s, lambda: before.exited() is not None)
        return StepResult(missed="" if over else f"epoch {epoch} ends within {deadline_s:g} s")
