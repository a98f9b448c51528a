"""The Envoys of one run, in the order in which they were started."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from envoyassert.errors import LaunchError, MachineError
from envoyassert.frozen import frozen
from envoyassert.launch.base import Launcher, LaunchSpec, RunningEnvoy, tail
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.kernel import is_dying
from envoyassert.launch.limits import Limits, find_agent
from envoyassert.option_read_back import Option
from envoyassert.probe import RUN_ID_VARIABLE, Watch
from envoyassert.probe.quiet import is_initialising, let_threads_wait, when_quiet
from envoyassert.scenario.needs import capabilities_of, needs_of
from envoyassert.scenario.plan import RunPlan
from envoyassert.steps.registry import limits_at_launch
from envoyassert.trace import ListenerRecord, Member, Outcome, namespaces_of
from envoyassert.witness import InNetns, take_witness

#: How long an Envoy that has begun to die of a fault may take; a stack is printed in 20 ms.
_DEATH_S = 2.0
_PAUSE_S = 0.005


@frozen
class Started:
    """One Envoy of a run: what was asked for, and how its start went."""

    name: str
    plan: RunPlan
    envoy: RunningEnvoy
    outcome: Outcome

    def as_member(
        self,
        in_netns: InNetns,
        listeners: tuple[ListenerRecord, ...],
        options: frozenset[Option],
    ) -> Member:
        """Return its state now, with an account if it runs."""
        witness = None
        if outcome_of(self.envoy, self.outcome).running:
            # Asked by way of the kernel alone: an admin endpoint may have been handed on.
            others = namespaces_of(listeners)
            witness = take_witness(self.envoy.pid, in_netns, None, others, options)
        outcome = outcome_of(self.envoy, self.outcome)  # it may have ended meanwhile
        return Member(self.name, self.envoy.pid, self.plan.workers, outcome, witness)


def spec_of(plan: RunPlan, source: EnvoySource, launcher: Launcher, arm: Watch) -> LaunchSpec:
    """Return how to start an Envoy of a run.

    Args:
        plan: what is asked for.
        source: which Envoy.
        launcher: what will start it.
        arm: what watches it.

    Raises:
        MachineError: whoever watches would have to start Envoy inside a container.
        LaunchError: the agent that is to start it is not there.
    """
    tracer = arm.command(launcher.rundir())
    if tracer and launcher.name != "process":
        raise MachineError(
            f"{Path(tracer[0]).name} starts Envoy itself, which it cannot in a container",
            "use the launcher `process`, or the tracer `ebpf` without a second witness",
        )
    if plan.agent:
        find_agent(plan.agent[0], plan.env, launcher.rundir())
    # The probe reads the environment from its start and only so far. A tracer gives the mark
    # to Envoy alone, or it would be taken for Envoy.
    mark = {} if tracer else {RUN_ID_VARIABLE: arm.run_id}
    return LaunchSpec(
        source=source,
        config_yaml=plan.config_text(),
        files=plan.own_files(),
        concurrency=plan.concurrency,
        args=plan.args,
        agent=plan.agent,
        netns=plan.netns,
        env={**mark, **plan.env},
        deadline_s=plan.deadline_s,
        admin=plan.admin,
        tracer=tracer,
        limits=Limits(**limits_at_launch(plan.steps)),
        needed=capabilities_of(needs_of(plan)),
    )


def become_ready(envoy: RunningEnvoy, arm: Watch) -> Outcome:
    """Wait until an Envoy is ready and its threads wait for events, or has ended, or is late."""
    outcome = envoy.wait_ready(when_quiet(arm))
    if outcome.running and outcome.live is None and is_initialising(arm):
        # There was nothing to ask, but Envoy is LIVE only when its workers have started.
        return dataclasses.replace(outcome, live=False)
    if outcome.running and outcome.live is not False:
        let_threads_wait(arm, envoy.exited, outcome.deadline_s or 0.0)
    return outcome


def check_agent(agent: Sequence[str], outcome: Outcome, arm: Watch) -> None:
    """Make sure that an agent which has ended had started Envoy before.

    Args:
        agent: its command line; () if there is none.
        outcome: what happened to the process that was started.
        arm: what watches the run: it saw whether Envoy began.

    Raises:
        LaunchError: it had not, so nothing can be said of Envoy.
    """
    if agent and not outcome.running and not arm.counters().marked:
        from envoyassert.texts.findings import outcome_in_words

        raise LaunchError(
            f"the agent {agent[0]} {outcome_in_words(outcome)} and had not started Envoy",
            "it is given Envoy's command line behind its own arguments, and must run that",
            "\n".join(outcome.log_tail),
        )


def outcome_of(envoy: RunningEnvoy, outcome: Outcome) -> Outcome:
    """Return what happened to an Envoy until now; one that is dying of a fault is waited for.

    Args:
        envoy: the process.
        outcome: how its start went.
    """
    end = envoy.exited()
    end_s = time.monotonic() + _DEATH_S
    while end is None and is_dying(envoy.pid) and time.monotonic() < end_s:
        end = envoy.exited(_PAUSE_S)
    if end is None or not outcome.running:
        return outcome
    return dataclasses.replace(
        outcome, exit_code=end.exit_code, signal=end.signal, log_tail=tail(envoy.log())
    )
