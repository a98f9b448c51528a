"""Clients of a real Envoy: whom they reach, and that they go where the scenario says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.probe import Probe
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.load import parse_scenario
from envoyassert.scenario.matrix import expand
from tests.e2e.launching import VERSION

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

ADMIN = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}
ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"},
}


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    with Probe.load() as loaded:
        yield loaded


def listener(name: str, host: str, port: int, **address: Any) -> dict[str, Any]:
    """A listener that echoes."""
    place = {"address": host, "port_value": port, **address}
    return {
        "name": name,
        "address": {"socket_address": place},
        "filter_chains": [{"filters": [ECHO]}],
    }


def scenario(listeners: list[dict[str, Any]], **parts: Any) -> dict[str, Any]:
    """A scenario of these listeners; the rest is `steps`, `expect` and what else it needs."""
    config = {"admin": ADMIN, "static_resources": {"listeners": listeners}}
    envoy = {"version": VERSION, "concurrency": 2, "config": config, **parts.pop("envoy", {})}
    return {"name": "clients", "envoy": envoy, **parts}


def run(probe: Probe, wanted: dict[str, Any]) -> tuple[RunResult, Verdict]:
    """Run a scenario once, and judge it."""
    # JSON is YAML, but for the surrogates that none of these has.
    loaded = parse_scenario(json.dumps(wanted), Path("clients.yaml"))
    (plan,) = expand(loaded)
    result = run_plan(plan, probe, "process")
    return result, judge(result.trace, plan.expectations, workers=plan.workers)


def unmet(verdict: Verdict) -> list[Finding]:
    """The findings that are no PASS."""
    assert verdict.certificate.whole, verdict.certificate.missing
    return [one for one in verdict.findings if one.status is not Status.PASS]


def test_mapped_listener_is_not_reached_beside_one_of_ipv4(probe: Probe) -> None:
    mapped = listener("mapped", "::ffff:127.0.0.1", 10000, ipv4_compat=True)
    plain = listener("plain", "127.0.0.1", 10000)
    expect = [
        {"listener": {"name": "mapped"}, "reachable_by_address": False},
        {"listener": {"name": "plain"}, "reachable_by_address": True},
        # What a real client reaches agrees.
        {"attempts": "answered", "during": "connect"},
        {"listener": {"name": "mapped"}, "during": "connect", "connections": {"total": "none"}},
        {"listener": {"name": "plain"}, "during": "connect", "connections": {"total": 4}},
    ]
    where = {"address": "::ffff:127.0.0.1", "port": 10000}
    steps = [{"connect": {"listener": where, "times": 4, "send": "hello"}}]
    _, verdict = run(probe, scenario([mapped, plain], steps=steps, expect=expect))
    assert not unmet(verdict)
