"""Requests to the admin endpoint that change what Envoy does with its clients."""

from __future__ import annotations

from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.scenario.steps.traffic import DrainStep, HealthcheckStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult


def drain(envoy: DrivenEnvoy, step: DrainStep, _deadline_s: float) -> StepResult:
    """Drain listeners."""
    return post(envoy, f"/drain_listeners{step.drain.query}")


def set_health(envoy: DrivenEnvoy, step: HealthcheckStep, _deadline_s: float) -> StepResult:
    """Fail or restore the health check."""
    return post(envoy, f"/healthcheck/{step.healthcheck}")


def post(envoy: DrivenEnvoy, path: str) -> StepResult:
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
