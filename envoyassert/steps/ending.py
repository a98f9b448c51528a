"""Signals, and asking Envoy to quit."""

from __future__ import annotations

import os
import signal

from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.scenario.steps.ending import FATAL, QuitStep, SignalStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult

_ENDS = "Envoy ends within {:g} s"


def send_signal(envoy: DrivenEnvoy, step: SignalStep, deadline_s: float) -> StepResult:
    """Send a signal, and wait for the end of Envoy if it is one that ends it."""
    try:
        os.kill(envoy.pid, signal.Signals[step.signal])
    except ProcessLookupError as error:
        raise StepProblem("Envoy had ended before") from error
    return _ended(envoy, deadline_s) if step.signal in FATAL else StepResult()


def quit_envoy(envoy: DrivenEnvoy, _step: QuitStep, deadline_s: float) -> StepResult:
    """Ask Envoy to quit, and wait for its end."""
    if envoy.plan.admin is None:
        raise StepProblem("the config has no admin endpoint to ask")
    try:
        status, body = envoy.admin_get("/quitquitquit", "POST")
    except AdminUnreachableError:
        # It may have ended before the answer was out.
        return _ended(envoy, deadline_s)
    if status != 200:
        raise StepProblem(f"/quitquitquit was answered with {status}: {body.strip()[:80]}")
    return _ended(envoy, deadline_s)


def _ended(envoy: DrivenEnvoy, deadline_s: float) -> StepResult:
    ended = envoy.exited(deadline_s) is not None
    return StepResult(missed="" if ended else _ENDS.format(deadline_s))
