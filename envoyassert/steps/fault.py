"""Faults of system calls, from the start of Envoy on."""

from __future__ import annotations

from collections.abc import Iterable

from envoyassert.durations import parse_duration
from envoyassert.probe.faults import CallFault
from envoyassert.scenario.steps.fault import FaultStep
from envoyassert.scenario.steps.frame import Step


def faults_first(steps: Iterable[Step]) -> list[CallFault]:
    """Return the faults that steps ask for."""
    return [
        CallFault(
            step.fault.call,
            f"{step.fault.nth}{'+' if step.fault.onwards else ''}",
            step.fault.error or "",
            round(parse_duration(step.fault.delay) * 1_000_000) if step.fault.delay else 0,
        )
        for step in steps
        if isinstance(step, FaultStep)
    ]
