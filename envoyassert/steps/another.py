"""Starting another Envoy beside the first, and hot restart."""

from __future__ import annotations

import time

from envoyassert.scenario.steps.another import HotRestartStep, StartStep
from envoyassert.scenario.steps.step import phase_name
from envoyassert.steps.base import DrivenEnvoy, StepResult, wait_until


def start(envoy: DrivenEnvoy, step: StartStep, deadline_s: float) -> StepResult:
    """Start another Envoy; that it ends at once is a fact to be judged."""
    return StepResult(missed=envoy.start_another(phase_name(step) or "", step.start, deadline_s))


def hot_restart(envoy: DrivenEnvoy, step: HotRestartStep, deadline_s: float) -> StepResult:
    """Start the next epoch and wait for the end of the one before."""
    end_s = time.monotonic() + deadline_s
    before = envoy.current()
    epoch = envoy.started() - 1
    wish = step.hot_restart.model_copy(
        update={"args": (*step.hot_restart.args, "--restart-epoch", str(epoch + 1))}
    )
    missed = envoy.start_another(phase_name(step) or "", wish, deadline_s)
    if missed:
        return StepResult(missed=missed)
    over = wait_until(
        envoy, max(0.0, end_s - time.monotonic()), lambda: before.exited() is not None
    )
    return StepResult(missed="" if over else f"epoch {epoch} ends within {deadline_s:g} s")
