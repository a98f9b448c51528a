"""Giving a file another content."""

from __future__ import annotations

from envoyassert.driver.base import Driver
from envoyassert.launch.inside import proc_root, replace_inside
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.replace_file import ReplaceFileStep


class ReplaceFileDriver(Driver[ReplaceFileStep]):
    """Renames a file into its place; the way to it leads through Envoy's process."""

    step = ReplaceFileStep

    def carry_out(self, step: ReplaceFileStep, deadline_s: float) -> StepResult:
        """Rename it; a problem if it cannot be written."""
        wanted = step.replace_file
        try:
            replace_inside(proc_root(self.envoy.pid), wanted.path, wanted.content)
        except OSError as error:
            why = error.strerror or error
            raise StepProblem(f"{wanted.path} cannot be written: {why}") from error
        return StepResult()
