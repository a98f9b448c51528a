"""The order of a run: the only module that knows probe, launcher and witness together.

    arm the probe -> start Envoy, the run id first in its environment -> wait until it is ready
    -> ask the kernel (witness) -> drain the ring -> trace

Whatever happens on the way, Envoy is stopped, the launcher's place removed and the run disarmed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from typing_extensions import Self

from envoyassert.accounts import Witness
from envoyassert.clock import monotonic_ns
from envoyassert.driver.base import D
from envoyassert.driver.drivers import Drivers
from envoyassert.driver.members import Started, become_ready, check_agent, outcome_of, spec_of
from envoyassert.driver.recorded import end_of, header_of
from envoyassert.frozen import frozen
from envoyassert.interrupts import interrupt_prevails
from envoyassert.launch.base import Exit, Launcher, RunningEnvoy
from envoyassert.launch.choose import Preference, choose_launcher, preference_of, source_of
from envoyassert.launch.namespace import in_netns_of
from envoyassert.option_read_back import Option
from envoyassert.probe import Tracer, Watch, new_run_id
from envoyassert.probe.faults import with_faults
from envoyassert.scenario.listeners import configured_listeners
from envoyassert.scenario.overlay import OverlayError
from envoyassert.scenario.plan import RequirementUnmetError, RunPlan, unmet
from envoyassert.scenario.xds import FILE, discovery_response
from envoyassert.steps.base import StepProblem, StepResult
from envoyassert.steps.registry import after_startup
from envoyassert.symbolize import symbolize
from envoyassert.trace import (
    FIRST,
    STARTUP,
    EnvoyIdentity,
    ListenerRecord,
    Member,
    Outcome,
    Phase,
    Trace,
    namespaces_of,
)
from envoyassert.witness import take_witness
from envoyassert.xds.opening import open_control_plane

if TYPE_CHECKING:
    from envoyassert.steps.another import Another
    from envoyassert.xds.control_plane import ControlPlane

T = TypeVar("T")

#: The ring holds a whole start-up; reading it takes far less, unless the machine is starved.
_DRAIN_DEADLINE_S = 10.0


def _as_served(plan: RunPlan, plane: ControlPlane | None) -> RunPlan:
    """Return the plan of another Envoy, whose file of listeners is as the last update left it."""
    if plane is None or FILE not in plan.files:
        return plan
    files = {**plan.files, FILE: discovery_response(plane.listeners)}
    return dataclasses.replace(
        plan, files=files, listeners=configured_listeners(plan.config, files)
    )


@frozen
class RunResult:
    """One run that is over.

    Args:
        plan: what was run, `${rundir}` replaced.
        trace: what was observed.
        log_text: what Envoy printed.
    """

    plan: RunPlan
    trace: Trace
    log_text: str


class RunObserver(Protocol):
    """Who wants to know of a run before it is over."""

    def began(self, run: LiveRun) -> None:
        """Take note of a run; nothing has been started yet."""

    def cut_short(self, run: LiveRun, error: BaseException) -> None:
        """Take what is wanted of a run that an exception ends, while its Envoy lives."""


def run_plan(
    plan: RunPlan,
    probe: Tracer,
    preference: Preference = "auto",
    *,
    debug_dirs: Sequence[Path] = (),
    observer: RunObserver | None = None,
) -> RunResult:
    """Run a plan once.

    Args:
        plan: what to run.
        probe: the loaded probe, or another tracer.
        preference: how to launch Envoy, where the plan does not say.
        debug_dirs: where separate debug files are, beside the system's own place.
        observer: is notified of the run, and when it is cut short.

    Raises:
        RequirementUnmetError: the scenario requires another Envoy, kernel or launcher.
        MachineError: this machine lacks something.
        LaunchError: Envoy could not be started at all.
    """
    with (
        interrupt_prevails(),
        choose_launcher(preference_of(plan, preference), source_of(plan)) as launcher,
        LiveRun(plan, probe, launcher, debug_dirs, observer) as run,
    ):
        run.carry_out_steps()
        result = RunResult(run.began_with, run.trace(), run.log())
        run.kill()
        return result


class LiveRun:
    """A traced Envoy that is ready, has ended, or missed its deadline; a context manager.

    Args:
        plan: what to run.
        probe: the loaded probe, or another tracer.
        launcher: the place to start it in; the caller closes it.
        debug_dirs: where separate debug files are, beside the system's own place.
        observer: is notified of the run, and when it is cut short.
    """

    def __init__(
        self,
        plan: RunPlan,
        probe: Tracer,
        launcher: Launcher,
        debug_dirs: Sequence[Path] = (),
        observer: RunObserver | None = None,
    ) -> None:
        self.plan = plan
        self._observer = observer
        #: Where the run is, in words.
        self.whereabouts = "before Envoy was started"
        self._debug_dirs = debug_dirs
        self._probe = probe
        self._launcher = launcher
        self._stack = contextlib.ExitStack()
        self._phases: list[Phase] = []
        #: When the last step that did something began.
        self.acted_ns = 0
        self._under_way = (STARTUP, STARTUP)
        self._members: list[Started] = []
        if observer is not None:
            observer.began(self)

    def __enter__(self) -> Self:
        """Start Envoy and wait for it. Raises like `run_plan`."""
        self._began_ns = monotonic_ns()
        with contextlib.ExitStack() as stack:
            self.plan = self.plan.in_rundir(self._launcher.rundir())
            source = source_of(self.plan)
            identity = self._launcher.prepare(source)
            reason = unmet(
                self.plan.scenario.requires,
                envoy=identity.version,
                kernel=platform.release(),
                launcher=self._launcher.name,
            )
            if reason:
                raise RequirementUnmetError(reason)
            self._launcher.give(self.plan.addresses)
            self.control_plane = open_control_plane(self.plan, self._launcher)
            if self.control_plane is not None:
                stack.enter_context(self.control_plane)
            self._arm: Watch = stack.enter_context(self._probe.arm(new_run_id()))
            faults = (fault for step in self.plan.steps for fault in step.faults())
            self._arm = with_faults(self._arm, faults)
            self._drivers = Drivers(self, self.plan.steps)
            self._stack = stack  # what is held from now on
            self._drivers.before_start()
            self._envoy: RunningEnvoy = stack.enter_context(
                self._launcher.start(spec_of(self.plan, source, self._launcher, self._arm))
            )
            self.whereabouts = "in Envoy's start-up"
            self._outcome = Outcome(deadline_s=self.plan.deadline_s)
            self._members = [Started(FIRST, self.plan, self._envoy, self._outcome)]
            stack.push(self._cut_short)
            self._outcome = become_ready(self._envoy, self._arm)
            check_agent(self.plan.agent, self._outcome, self._arm)
            self._members = [Started(FIRST, self.plan, self._envoy, self._outcome)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cut_short(*exception)
        self._stack.close()

    def _cut_short(self, *exception: object) -> None:
        if self._observer is not None and isinstance(exception[1], BaseException):
            self._observer.cut_short(self, exception[1])

    def start_another(self, name: str, asked: Another, deadline_s: float) -> str:
        """Start another Envoy beside those that run; see `DrivenEnvoy`."""
        if self._launcher.name != "process":
            raise StepProblem("another Envoy needs the launcher `process`: one network for both")
        if self._arm.command(self._launcher.rundir()):
            raise StepProblem("strace watches one Envoy alone; leave it out for another one")
        try:
            plan = self.plan.for_another(asked, self._launcher.rundir())
        except OverlayError as error:
            raise StepProblem(f"the overlay does not fit the config: {error.message}") from error
        plan = dataclasses.replace(_as_served(plan, self.control_plane), deadline_s=deadline_s)
        envoy = self._stack.enter_context(
            self._launcher.start(spec_of(plan, source_of(plan), self._launcher, self._arm))
        )
        self.plan, self._envoy = plan, envoy
        self._outcome = become_ready(envoy, self._arm)
        self._members.append(Started(name, plan, envoy, self._outcome))
        late = self._outcome.running and self._outcome.live is False
        return f"{name} to be LIVE within {deadline_s:g} s" if late else ""

    @property
    def began_with(self) -> RunPlan:
        """The plan of the first Envoy."""
        return self._members[0].plan

    def current(self) -> RunningEnvoy:
        """Return the Envoy that was started last."""
        return self._envoy

    def started(self) -> int:
        """Return how many Envoys have been started."""
        return len(self._members)

    @property
    def pid(self) -> int:
        """The Envoy process, as seen from here."""
        return self._envoy.pid

    @property
    def identity(self) -> EnvoyIdentity:
        """Which Envoy it is."""
        return self._envoy.identity

    @property
    def launcher(self) -> str:
        """`docker` or `process`."""
        return self._launcher.name

    @property
    def outcome(self) -> Outcome:
        """What happened to it until now: ready, ended, or late."""
        return outcome_of(self._envoy, self._outcome)

    def in_netns(self, call: Callable[[], T], netns: str = "") -> T:
        """Run `call` inside a network namespace of Envoy's and return what it returns."""
        if netns:
            return in_netns_of(self.pid, netns, call)
        place = self._envoy if self._members else self._launcher
        return place.in_netns(call)

    def driver(self, driver: type[D]) -> D:
        """Return the run's driver of a kind of step."""
        return self._drivers.of(driver)

    def admin_get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask the admin endpoint; return status and body."""
        return self._envoy.admin_get(path, method)

    def stop(self) -> Outcome:
        """Stop Envoy with SIGTERM; the trace taken afterwards holds its end as well."""
        self._envoy.stop()
        return self.outcome

    def kill(self) -> None:
        """End every Envoy without a wait for a clean exit, of which nothing would be observed."""
        for member in reversed(self._members):
            member.envoy.stop(deadline_s=0.0)

    def log(self) -> str:
        """Return what Envoy printed so far."""
        return self._envoy.log()

    def _witness(self) -> Witness:
        """Return what the kernel and Envoy say now."""
        admin_get = self.admin_get if self.plan.admin is not None else None
        others = namespaces_of(self.listeners)
        return take_witness(self.pid, self.in_netns, admin_get, others, self._options())

    def _options(self) -> frozenset[Option]:
        """Return which options were set so far: the kernel is asked for the values of these."""
        self._arm.drain(_DRAIN_DEADLINE_S)
        return self._arm.options()

    def exited(self, timeout_s: float = 0.0) -> Exit | None:
        """Wait up to `timeout_s` for Envoy to end; return how, or None if it runs."""
        return self._envoy.exited(timeout_s)

    def hold(self, resource: contextlib.AbstractContextManager[Any]) -> None:
        """Keep something open until the run is over."""
        self._stack.enter_context(resource)

    @property
    def listeners(self) -> tuple[ListenerRecord, ...]:
        """The listeners that are known since the last step."""
        found = [phase.listeners for phase in self._phases if phase.listeners is not None]
        return found[-1] if found else self.plan.listeners

    def emitted(self) -> int:
        """Return how many records there are by now, without reading them."""
        return self._arm.counters().emitted

    def carry_out_steps(self) -> None:
        """Carry out the plan's steps, up to the first that is not over; each is a phase."""
        plane = self.control_plane
        if not self.plan.steps and plane is None:
            return
        first = StepResult(update=None if plane is None else plane.started(self).fact)
        self._end_phase(STARTUP, STARTUP, first, "")
        steps = after_startup(self.plan.steps)
        for number, step in enumerate(steps, 1):
            result, problem = StepResult(), ""
            self._under_way = (step.phase, step.kind)
            self.whereabouts = f"in step {number} of {len(steps)}, `{step.phase}`"
            if step.acts:
                self.acted_ns = monotonic_ns()
            try:
                result = self._drivers.carry_out(step)
            except StepProblem as found:
                problem = str(found)
            self._end_phase(step.phase, step.kind, result, problem)
            if problem or result.missed:
                return  # what was to come rests on it

    def _end_phase(self, name: str, kind: str, result: StepResult, problem: str) -> None:
        witness = self._witness() if self.outcome.running else None
        outcome = self.outcome  # it may have ended meanwhile
        envoys: tuple[Member, ...] = ()
        if len(self._members) > 1:
            options = self._options()
            before = [
                m.as_member(self.in_netns, self.listeners, options) for m in self._members[:-1]
            ]
            last = self._members[-1]
            newest = Member(last.name, self.pid, last.plan.workers, outcome, witness)
            envoys = (*before, newest)
        self._phases.append(
            Phase(
                name=name,
                kind=kind,
                # What Envoy does between two steps is of the second: no instant is of none.
                begin_ns=self._phases[-1].end_ns + 1 if self._phases else self._began_ns,
                end_ns=monotonic_ns(),
                outcome=outcome,
                witness=witness,
                problem=problem,
                missed=result.missed,
                attempts=result.attempts,
                update=result.update,
                listeners=result.listeners or self._listeners(),
                envoys=envoys,
                **self._drivers.account(),
            )
        )
        # The ring holds a whole start-up, but not a long life.
        self._arm.drain(_DRAIN_DEADLINE_S)

    def _listeners(self) -> tuple[ListenerRecord, ...] | None:
        """Return the listeners of several Envoys, each once; of one, if they changed."""
        if len(self._members) == 1:
            return self.listeners
        if self._phases and len(self._phases[-1].envoys) == len(self._members):
            return self.listeners
        # What those before the last one had, pushes have changed since.
        return tuple(dict.fromkeys((*self.listeners, *self.plan.listeners)))

    def trace(self) -> Trace:
        """Return all that was observed up to now."""
        self.whereabouts = "at the end of the run"
        # Before the drain, so that the trace covers the instant of the kernel's account; with
        # steps the accounts were taken at the end of each.
        witness = self._witness() if self.outcome.running and not self._phases else None
        return self.observed(witness)

    def observed(self, witness: Witness | None = None, unfinished: tuple[Phase, ...] = ()) -> Trace:
        """Return what was recorded up to now, with an account that was taken before."""
        outcome = self.outcome
        until_ns = monotonic_ns()
        self._arm.drain(_DRAIN_DEADLINE_S)
        snapshot = self._arm.snapshot()
        phases = (*self._phases, *unfinished)
        header = header_of(self._members[0], self._launcher, self._arm, phases, self._began_ns)
        end = end_of(snapshot, outcome, self._envoy.log())
        executables = [member.envoy.executable for member in self._members]
        symbols = symbolize(snapshot.events, self._debug_dirs, executables)
        second = self._arm.second(until_ns)
        return Trace(header, snapshot.events, end, witness, phases, symbols, second)

    def trace_cut_short(self, why: str) -> Trace:
        """Return what was recorded until `why`; the last phase is the one that it cuts short."""
        phase = Phase(
            *self._under_way,
            begin_ns=self._phases[-1].end_ns + 1 if self._phases else self._began_ns,
            end_ns=monotonic_ns(),
            outcome=self.outcome,
            problem=why,
            listeners=self._listeners(),
            **self._drivers.account(),
        )
        return self.observed(unfinished=(phase,))
