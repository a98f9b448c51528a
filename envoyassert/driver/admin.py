"""Requests to the admin endpoint that change what Envoy does with its clients."""

from __future__ import annotations

from envoyassert.driver.base import NO_REST, DrivenEnvoy, Driver, wait_until
from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.processes import all_asleep
from envoyassert.steps.admin import DrainStep, HealthcheckStep
from envoyassert.steps.base import StepProblem, StepResult


class DrainDriver(Driver[DrainStep]):
    """Drains listeners."""

    step = DrainStep

    def carry_out(self, step: DrainStep, deadline_s: float) -> StepResult:
        """Ask for it, and wait until Envoy has come to rest.

        It answers before its workers have closed anything.

        Raises:
            StepProblem: it refuses, or still has work to do.
        """
        envoy = self.envoy
        result = _post(envoy, f"/drain_listeners{step.drain.query}")
        rested = wait_until(envoy, deadline_s, lambda: all_asleep(envoy.pid))
        if not rested and envoy.exited() is None:
            raise StepProblem(NO_REST.format(deadline_s))
        return result


class HealthcheckDriver(Driver[HealthcheckStep]):
    """Fails or restores the health check."""

    step = HealthcheckStep

    def carry_out(self, step: HealthcheckStep, deadline_s: float) -> StepResult:
        """Ask for it."""
        return _post(self.envoy, f"/healthcheck/{step.healthcheck}")


def _post(envoy: DrivenEnvoy, path: str) -> StepResult:
    """Ask the admin endpoint for something.

    Raises:
        StepProblem: there is none, it does not answer, or it refuses.
    """
    if envoy.plan.admin is None:
        raise StepProblem("the config has no admin endpoint to ask")
    try:
        status, body = envoy.admin_get(path, "POST")
    except AdminUnreachableError as error:
        raise StepProblem(f"the admin endpoint does not answer: {error}") from error
    if status != 200:
        raise StepProblem(f"POST {path} was answered with {status}: {body.strip()[:80]}")
    return StepResult()
