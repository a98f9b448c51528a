"""What a driver of steps is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from envoyassert.launch.base import Exit, RunningEnvoy
from envoyassert.scenario.plan import RunPlan
from envoyassert.steps.base import LivingEnvoy, S, StepDriver
from envoyassert.trace import ListenerRecord, Trace

if TYPE_CHECKING:
    from envoyassert.steps.another import Another
    from envoyassert.xds.control_plane import ControlPlane

T = TypeVar("T")
D = TypeVar("D", bound=StepDriver[Any, Any])

#: Why nothing is known of what a step made Envoy do; with the seconds that it was given.
NO_REST = "Envoy did not come to rest within {:g} s"
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.02


class DrivenEnvoy(Protocol):
    """A traced Envoy as drivers of steps see it; before it starts, only its place."""

    plan: RunPlan
    control_plane: ControlPlane | None

    @property
    def pid(self) -> int:
        """The main process, as seen from here."""

    @property
    def acted_ns(self) -> int:
        """When the last step that did something began: CLOCK_MONOTONIC ns, 0 if none did."""

    def in_netns(self, call: Callable[[], T], netns: str = "", /) -> T:
        """Run `call` inside Envoy's network namespace and return what it returns.

        Args:
            call: what to run.
            netns: another network namespace, by the file that Envoy enters it by.
        """

    def admin_get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the admin endpoint; return status and body. Raises AdminUnreachableError."""

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for Envoy to end; return how, or None if it runs."""

    def log(self) -> str:
        """Return what Envoy printed so far."""

    @property
    def listeners(self) -> tuple[ListenerRecord, ...]:
        """The listeners that are known since the last step."""

    def observed(self) -> Trace:
        """Return what was recorded up to now."""

    def emitted(self) -> int:
        """Return how many records there are by now, without reading them."""

    def current(self) -> RunningEnvoy:
        """Return the Envoy that was started last."""

    def started(self) -> int:
        """Return how many Envoys have been started."""

    def start_another(self, name: str, wanted: Another, deadline_s: float) -> str:
        """Start another Envoy, from now on the one that steps act on; wait until it is ready.

        Returns:
            What it should have done and did not, "" if it is ready or has ended.
        """

    def hold(self, resource: AbstractContextManager[Any]) -> None:
        """Keep something open until the run is over: a connection, a foreign socket."""

    def driver(self, driver: type[D]) -> D:
        """Return the run's driver of another kind of step."""


class Driver(StepDriver[S, DrivenEnvoy], Generic[S]):
    """A driver that needs an edge."""


def observed_now(envoy: DrivenEnvoy) -> Trace:
    """Return what was recorded up to now, with the listeners that Envoy has since the last step."""
    trace = envoy.observed()
    return replace(trace, header=replace(trace.header, listeners=envoy.listeners))


def wait_until(envoy: LivingEnvoy, deadline_s: float, holds: Callable[[], bool]) -> bool:
    """Ask again and again whether a condition holds; return whether it did before the deadline.

    Between two questions it is waited on the process itself, so that its end is noticed at once;
    the condition is then asked once more.

    Args:
        envoy: the process.
        deadline_s: seconds from now.
        holds: asks once; each question may be work for Envoy, so they become rarer.
    """
    end_s = time.monotonic() + deadline_s
    pause_s = _FIRST_PAUSE_S
    while not holds():
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            return False
        if envoy.exited(min(pause_s, left_s)) is not None:
            return holds()
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    return True
