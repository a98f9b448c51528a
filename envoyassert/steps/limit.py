"""Limits of what Envoy may do, before it starts or while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from envoyassert.errors import MachineError
from envoyassert.launch.limits import Limits, limit_files
from envoyassert.scenario.steps.frame import Step
from envoyassert.scenario.steps.limit import LimitStep
from envoyassert.steps.base import DrivenEnvoy, StepProblem, StepResult


def limit(envoy: DrivenEnvoy, step: LimitStep, _deadline_s: float) -> StepResult:
    """Limit the descriptors of a running Envoy.

    Raises:
        StepProblem: it has ended, or this process may not.
    """
    wish = step.limit
    try:
        if wish.spare_files is not None:
            numbers = {int(entry.name) for entry in Path(f"/proc/{envoy.pid}/fd").iterdir()}
            soft = limit_with_spare(numbers, wish.spare_files)
        else:
            assert wish.nofile is not None  # the model allows nothing else on a running Envoy
            soft = wish.nofile
        limit_files(envoy.pid, soft)
    except (OSError, MachineError, TimeoutExpired) as error:
        raise StepProblem(f"Envoy cannot be limited: {error}") from error
    return StepResult()


def limit_with_spare(numbers: Iterable[int], spare: int) -> int:
    """Return the lowest limit below which so many descriptors are free.

    Args:
        numbers: those that are open.
        spare: how many more shall be possible.
    """
    taken = set(numbers)
    number, free = 0, 0
    while free < spare or number in taken:
        free += number not in taken
        number += 1
    return number


def limits_first(steps: Iterable[Step]) -> Limits:
    """Return the limits that are set before Envoy starts; of several of a kind the last."""
    limits = Limits()
    for step in steps:
        if isinstance(step, LimitStep) and step.before is not None:
            wish = step.limit
            given: dict[str, Any] = {
                "nofile": wish.nofile,
                "uid": wish.uid,
                "capabilities": None if wish.capabilities is None else tuple(wish.capabilities),
                "port_start": wish.ip_unprivileged_port_start,
                "no_new_privs": wish.no_new_privs,
                "seccomp": None if wish.seccomp is None else wish.seccomp == "default",
            }
            limits = replace(
                limits, **{n: value for n, value in given.items() if value is not None}
            )
    return limits
