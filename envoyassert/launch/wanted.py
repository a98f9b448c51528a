"""Which Envoy a plan asks for, and how it is to be launched."""

from __future__ import annotations

from envoyassert.launch.choose import Preference
from envoyassert.launch.envoy_source import EnvoySource, PullPolicy
from envoyassert.scenario.plan import DEFAULT_VERSION, RunPlan


def source_of(plan: RunPlan) -> EnvoySource:
    """Return which Envoy a plan asks for; the default version if it names none."""
    pull: PullPolicy = plan.pull  # type: ignore[assignment]  # checked by the scenario's model
    if plan.image:
        return EnvoySource(image=plan.image, pull=pull)
    if plan.binary:
        return EnvoySource(binary=plan.binary, pull=pull)
    return EnvoySource(version=plan.version or DEFAULT_VERSION, pull=pull)


def preference_of(plan: RunPlan, preference: Preference) -> Preference:
    """Return how a plan wants to be launched, else what the session prefers."""
    wanted = plan.launcher
    if wanted in ("", "auto"):
        wanted = plan.scenario.requires.launcher or preference
    return wanted  # type: ignore[return-value]  # one of the three words
