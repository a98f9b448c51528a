"""Limiting the descriptors of an Envoy that runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from subprocess import TimeoutExpired

from envoyassert.driver.base import Driver
from envoyassert.errors import MachineError
from envoyassert.launch.limits import limit_files
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.limit import LimitStep


class LimitDriver(Driver[LimitStep]):
    """Limits the descriptors of a running Envoy; all else it is started with."""

    step = LimitStep

    def carry_out(self, step: LimitStep, deadline_s: float) -> StepResult:
        """Limit them; a problem if it has ended, or if this process may not."""
        wanted, pid = step.limit, self.envoy.pid
        try:
            if wanted.spare_files is not None:
                numbers = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
                soft = limit_with_spare(numbers, wanted.spare_files)
            else:
                assert wanted.nofile is not None  # the model allows nothing else on a running Envoy
                soft = wanted.nofile
            limit_files(pid, soft)
        except (OSError, MachineError, TimeoutExpired) as error:
            raise StepProblem(f"Envoy cannot be limited: {error}") from error
        return StepResult()


def limit_with_spare(numbers: Iterable[int], spare: int) -> int:
    """Return the lowest limit below which so many descriptors are free.

    Args:
        numbers: those that are open.
        spare: how many more must be possible.
    """
    taken = set(numbers)
    number, free = 0, 0
    while free < spare or number in taken:
        free += number not in taken
        number += 1
    return number
