"""Signals, and asking Envoy to quit."""

from __future__ import annotations

import os
import signal

from envoyassert.driver.base import DrivenEnvoy, Driver
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.ending import FATAL, QuitStep, SignalStep

_ENDS = "Envoy ends within {:g} s"


class SignalDriver(Driver[SignalStep]):
    """Sends a signal."""

    step = SignalStep

    def carry_out(self, step: SignalStep, deadline_s: float) -> StepResult:
        """Send it, and wait for the end of Envoy if it is one that ends it."""
        try:
            os.kill(self.envoy.pid, signal.Signals[step.signal])
        except ProcessLookupError as error:
            raise StepProblem("Envoy had ended before") from error
        return _ended(self.envoy, deadline_s) if step.signal in FATAL else StepResult()


class QuitDriver(Driver[QuitStep]):
    """Asks Envoy to quit."""

    step = QuitStep

    def carry_out(self, step: QuitStep, deadline_s: float) -> StepResult:
        """Ask for it, and wait for Envoy's end."""
        if self.envoy.plan.admin is None:
            raise StepProblem("the config has no admin endpoint to ask")
        try:
            status, body = self.envoy.admin_get("/quitquitquit", "POST")
        except AdminUnreachableError:
            # It may have ended before the answer was out.
            return _ended(self.envoy, deadline_s)
        if status != 200:
            raise StepProblem(f"/quitquitquit was answered with {status}: {body.strip()[:80]}")
        return _ended(self.envoy, deadline_s)


def _ended(envoy: DrivenEnvoy, deadline_s: float) -> StepResult:
    ended = envoy.exited(deadline_s) is not None
    return StepResult(missed="" if ended else _ENDS.format(deadline_s))
