"""Giving a file another content."""

from __future__ import annotations

from envoyassert.launch.rundir import replace_file as rename_over
from envoyassert.launch.rundir import seen_by
from envoyassert.scenario.steps.replace_file import ReplaceFileStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult


def replace_file(envoy: DrivenEnvoy, step: ReplaceFileStep, _deadline_s: float) -> StepResult:
    """Rename a file into its place.

    Raises:
        StepProblem: it cannot be written; the way to it leads through Envoy's process.
    """
    wish = step.replace_file
    try:
        rename_over(seen_by(envoy.pid, wish.path), wish.content)
    except OSError as error:
        raise StepProblem(f"{wish.path} cannot be written: {error.strerror or error}") from error
    return StepResult()
