"""The drivers of a run, one of each kind of step, and how they carry out its steps."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from envoyassert import driver, steps
from envoyassert.driver.base import D, DrivenEnvoy
from envoyassert.durations import parse_duration
from envoyassert.steps.base import Step, StepDriver, StepResult
from envoyassert.steps.load import StepUnderLoad


def driver_of(kind: type[Step]) -> type[StepDriver[Any, Any]]:
    """Return the driver of a kind of step: beside the kind, or in its twin in this package."""
    twin = kind.__module__.replace(steps.__name__, driver.__name__)
    for module in (kind.__module__, twin):
        for one in vars(import_module(module)).values():
            if isinstance(one, type) and issubclass(one, StepDriver) and one is not StepDriver:
                found: type[StepDriver[Any, Any]] = one
                if getattr(found, "step", None) is kind:
                    return found
    raise LookupError(f"neither {kind.__module__} nor {twin} has a driver of {kind.__name__}")


class Drivers:
    """The drivers of one run; each is made when it is first asked for.

    Args:
        envoy: the Envoy of the run.
        steps: all steps of the run.
    """

    def __init__(self, envoy: DrivenEnvoy, steps: Iterable[Step]) -> None:
        self._envoy = envoy
        self._steps = tuple(steps)
        self._drivers: dict[type[StepDriver[Any, Any]], Any] = {}

    def of(self, driver: type[D]) -> D:
        """Return the run's driver of a class."""
        if driver not in self._drivers:
            own = [step for step in self._steps if type(step) is driver.step]
            self._drivers[driver] = driver(self._envoy, own)
        found: D = self._drivers[driver]
        return found

    def before_start(self) -> None:
        """Do what the steps ask for before Envoy starts.

        Raises:
            LaunchError: something cannot be done.
        """
        for kind in dict.fromkeys(map(type, self._steps)):
            self.of(driver_of(kind)).before_start()

    def carry_out(self, step: Step) -> StepResult:
        """Carry out one step, with clients that keep coming meanwhile if it says so.

        Raises:
            StepProblem: it could not be carried out.
        """
        one = self.of(driver_of(type(step)))
        deadline_s = parse_duration(step.deadline)
        wanted = step.loads if isinstance(step, StepUnderLoad) else ()
        if not wanted:
            return one.carry_out(step, deadline_s)
        from envoyassert.driver.connect import target_of
        from envoyassert.driver.load import RunningLoad

        targets = [target_of(self._envoy, load.listener) for load in wanted]
        with contextlib.ExitStack() as stack:
            loads = [
                stack.enter_context(RunningLoad(self._envoy, load, *target))
                for load, target in zip(wanted, targets, strict=True)
            ]
            result = one.carry_out(step, deadline_s)
            for load in loads:
                load.let_end()
            made = itertools.chain.from_iterable(load.finish() for load in loads)
            ordered = sorted(made, key=lambda attempt: attempt.began_ns)
            return replace(result, attempts=tuple(ordered))

    def account(self) -> Mapping[str, Any]:
        """Return what the drivers say at the end of a phase, by the members of `Phase`."""
        return {
            name: fact for one in self._drivers.values() for name, fact in one.account().items()
        }
