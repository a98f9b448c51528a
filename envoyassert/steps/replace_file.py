"""Giving a file another content."""

from __future__ import annotations

from envoyassert.launch.inside import replace_inside, root_of
from envoyassert.scenario.steps.replace_file import ReplaceFileStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult


def replace_file(envoy: DrivenEnvoy, step: ReplaceFileStep, _deadline_s: float) -> StepResult:
    """Rename a file into its place.

    Raises:
        StepProblem: it cannot be written; the way to it leads through Envoy's process.
    """
    wish = step.replace_file
    try:
        replace_inside(root_of(envoy.pid), wish.path, wish.content)
    except OSError as error:
        raise StepProblem(f"{wish.path} cannot be written: {error.strerror or error}") from error
    return StepResult()
