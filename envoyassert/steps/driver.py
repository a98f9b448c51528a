"""How a kind of step is carried out, as far as that needs nothing of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from envoyassert.steps.base import Step
from envoyassert.trace import ConnectionAttempt, ListenerRecord, UpdateResult


class StepProblem(Exception):  # noqa: N818 - not an error of the product, a fact of the run
    """The step could not be carried out at all; its text is the reason."""


@dataclass(frozen=True)
class StepResult:
    """What came of a step; the members are those of `envoyassert.trace.Phase`."""

    missed: str = ""
    attempts: tuple[ConnectionAttempt, ...] = ()
    update: UpdateResult | None = None
    listeners: tuple[ListenerRecord, ...] | None = None


class LivingEnvoy(Protocol):
    """A process that may end."""

    def exited(self, timeout_s: float = 0.0) -> object | None:
        """Wait up to `timeout_s` for Envoy to end; return how, or None if it runs."""


S = TypeVar("S", bound=Step)
E = TypeVar("E", bound=LivingEnvoy)


class StepDriver(Generic[S, E]):
    """Carries out the steps of one kind in one run; what it keeps between them are its members.

    Args:
        envoy: the Envoy of the run, of several the one that was started last.
        steps: the run's steps of this kind.
    """

    step: ClassVar[type[Step]]
    """The kind."""

    def __init__(self, envoy: E, steps: Sequence[S] = ()) -> None:
        self.envoy = envoy
        self.steps = steps

    def before_start(self) -> None:
        """Do what the steps ask for before Envoy starts.

        Raises:
            LaunchError: it cannot be done.
        """

    def carry_out(self, step: S, deadline_s: float) -> StepResult:
        """Do what a step asks for, and wait until it is over.

        Behaviour of Envoy (a refused connection, an exit) is a fact to be judged.

        Args:
            step: the step.
            deadline_s: how long it may take, in seconds.

        Raises:
            StepProblem: it could not be carried out.
        """
        raise NotImplementedError(step.kind)

    def account(self) -> Mapping[str, Any]:
        """Return what is so at the end of a phase, by the members of `envoyassert.trace.Phase`."""
        return {}
