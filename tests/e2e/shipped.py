"""Shipped scenarios as the tests run them."""

from __future__ import annotations

from pathlib import Path

from envoyassert.launch.envoy_source import parse_envoy_argument
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from tests.e2e.launching import VERSION

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def plan_of(name: str) -> RunPlan:
    """Return the run of a scenario with two workers whose values come first."""
    plans = expand(
        load_scenario(SCENARIOS / f"{name}.yaml"), envoys=[parse_envoy_argument(VERSION)]
    )
    return next(plan for plan in plans if plan.concurrency == 2)
