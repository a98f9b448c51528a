"""The beginning and the end of a run's trace: what ran where, and how it was watched."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence

from envoyassert.clock import monotonic_ns
from envoyassert.driver.members import Started
from envoyassert.launch.base import Launcher, tail
from envoyassert.predict.deciding import deciding_config, discovered_at_start
from envoyassert.probe import ProbeSnapshot, Watch
from envoyassert.scenario.given import digests_of
from envoyassert.steps.registry import after_startup
from envoyassert.trace import CpuCounters, End, Header, Outcome, Phase


def header_of(
    first: Started, launcher: Launcher, arm: Watch, phases: Sequence[Phase], began_ns: int
) -> Header:
    """Return the header of a run's trace.

    Args:
        first: the Envoy that the run began with.
        launcher: what started it.
        arm: what records it.
        phases: those that it came to; () if it has none.
        began_ns: CLOCK_MONOTONIC nanoseconds before Envoy was started.
    """
    plan = first.plan
    theirs = discovered_at_start(plan.config, plan.files)
    if theirs is None and plan.xds is not None:
        theirs = []  # the control plane serves what is in the files, and so nothing
    return Header(
        scenario=plan.scenario.name,
        run_id=arm.run_id,
        envoy=first.envoy.identity,
        launcher=launcher.name,
        concurrency=plan.workers,
        kernel=platform.release(),
        listeners=plan.listeners,
        matrix=plan.matrix_text,
        rundir=launcher.rundir(),
        unobserved=arm.unobserved,
        tracer=arm.tracer,
        steps=tuple(step.phase for step in after_startup(plan.steps) if phases),
        began_ns=began_ns,
        stood_in=plan.stood_in,
        given=digests_of(plan),
        config=deciding_config(plan.config, theirs),
    )


def end_of(snapshot: ProbeSnapshot, outcome: Outcome, log: str) -> End:
    """Return the end of a run's trace.

    Args:
        snapshot: what was recorded.
        outcome: what happened to the newest Envoy.
        log: what it printed.
    """
    return End(
        # A run that recorded nothing at all was still counted: by zero.
        cpus=snapshot.cpus or (CpuCounters(0, 0, 0),),
        misses=snapshot.misses,
        drained=snapshot.drained,
        marked=snapshot.marked,
        # What Envoy said since it became ready explains as well.
        outcome=dataclasses.replace(outcome, log_tail=tail(log)),
        ended_ns=monotonic_ns(),
    )
