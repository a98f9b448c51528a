"""Clients of a real Envoy: whom they reach, and that they go where the scenario says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status, Verdict
from envoyassert.launch.choose import Preference
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


def run(
    probe: Probe, wanted: dict[str, Any], launcher: Preference = "process"
) -> tuple[RunResult, Verdict]:
    """Run a scenario once, and judge it."""
    # JSON is YAML, but for the surrogates that none of these has.
    loaded = parse_scenario(json.dumps(wanted), Path("clients.yaml"))
    (plan,) = expand(loaded)
    result = run_plan(plan, probe, launcher)
    return result, judge(result.trace, plan.expectations, workers=plan.workers)


LAUNCHERS = ["process", pytest.param("docker", marks=pytest.mark.docker)]


def connect(phase: str, send: str | None = "hello", **where: Any) -> dict[str, Any]:
    """A step that sends one client."""
    text = {} if send is None else {"send": send}
    return {"name": phase, "connect": {"listener": where, **text}}


def fates_of(**phases: str) -> list[dict[str, Any]]:
    """What happens to the clients of each phase."""
    return [{"attempts": fate, "during": phase} for phase, fate in phases.items()]


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


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_client_of_an_address_where_nothing_listens_is_refused_there(
    probe: Probe, launcher: Preference
) -> None:
    port = 18080
    steps = [
        connect("there", address="127.0.0.1", port=port),
        connect("mapped", address="::ffff:127.0.0.1", port=port),
        connect("v6", address="::1", port=port),
        connect("v4", address="127.0.0.9", port=port),
        connect("udp", address="127.0.0.1", port=port, protocol="UDP"),
    ]
    fates = fates_of(there="answered", mapped="answered", v6="refused", v4="refused", udp="refused")
    wanted = scenario([listener("web", "127.0.0.1", port)], steps=steps, expect=fates)
    result, verdict = run(probe, wanted, launcher)
    assert not unmet(verdict)
    asked = [str(attempt.address) for phase in result.trace.phases for attempt in phase.attempts]
    assert asked == [
        f"127.0.0.1:{port}",
        f"[::ffff:127.0.0.1]:{port}",
        f"[::1]:{port}",
        f"127.0.0.9:{port}",
        f"127.0.0.1:{port}",
    ]


@pytest.mark.parametrize("compat, fate", [(False, "refused"), (True, "answered")])
def test_ipv4_client_of_the_ipv6_wildcard_goes_by_ipv4(
    probe: Probe, compat: bool, fate: str
) -> None:
    steps = [
        connect("v4", address="127.0.0.1", port=18003),
        connect("by_name", name="six", address="127.0.0.2"),
        connect("v6", address="::1", port=18003),
        connect("somewhere", name="six"),
    ]
    expect = [
        *fates_of(v4=fate, by_name=fate, v6="answered", somewhere="answered"),
        {"listener": {"name": "six"}, "options": {"IPV6_V6ONLY": int(not compat)}},
    ]
    six = listener("six", "::", 18003, ipv4_compat=compat)
    result, verdict = run(probe, scenario([six], steps=steps, expect=expect))
    assert not unmet(verdict)
    accepts = [event for event in result.trace.events if "accept" in event.call and event.ok]
    peers = [event.args["address"].host for event in accepts]
    v4 = ["::ffff:127.0.0.1", "::ffff:127.0.0.1"] if compat else []
    # Those of the admin endpoint have plain addresses of IPv4.
    assert [peer for peer in peers if ":" in peer] == [*v4, "::1", "::1"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_client_of_one_address_of_a_wildcard_is_the_listener_s(
    probe: Probe, launcher: Preference
) -> None:
    deadline_s = 60
    wildcards = [listener("web", "0.0.0.0", 18080), listener("any", "0.0.0.0", 0)]
    steps = [
        # Nothing comes back to one that says nothing, so it is waited for until it was accepted.
        {**connect("a", None, address="127.0.0.2", port=18080), "deadline": f"{deadline_s}s"},
        {**connect("b", address="127.0.0.3", port=18080), "deadline": f"{deadline_s}s"},
        {**connect("c", None, name="any", address="127.0.0.4"), "deadline": f"{deadline_s}s"},
    ]
    total = {"connections": {"total": 1}}
    expect = [
        *fates_of(a="made", b="answered", c="made"),
        *({"listener": {"name": "web"}, "during": phase, **total} for phase in "ab"),
        {"listener": {"name": "any"}, "during": "c", **total},
    ]
    result, verdict = run(probe, scenario(wildcards, steps=steps, expect=expect), launcher)
    assert not unmet(verdict)
    for phase in result.trace.phases:
        assert phase.end_ns - phase.begin_ns < deadline_s * 10**9


def test_client_goes_to_the_network_namespace_that_the_scenario_names(probe: Probe) -> None:
    blue = "${rundir}/netns/blue"
    inside = listener("blue", "127.0.0.1", 8080, network_namespace_filepath=blue)
    steps = [
        connect("by_default", address="127.0.0.1", port=8080),
        connect("there", address="127.0.0.1", port=8080, netns=blue),
        connect("own", address="127.0.0.1", port=8080, netns="own"),
        connect("other_port", address="127.0.0.1", port=9, netns=blue),
    ]
    fates = fates_of(by_default="answered", there="answered", own="refused", other_port="refused")
    parts = {"requires": {"launcher": "process"}, "envoy": {"netns": ["blue"]}}
    _, verdict = run(probe, scenario([inside], steps=steps, expect=fates, **parts))
    assert not unmet(verdict)


def test_redirected_client_comes_where_the_scenario_says(probe: Probe) -> None:
    beside = [listener("web", "127.0.0.1", 18080), listener("inbound", "127.0.0.1", 15006)]
    steps = [
        {"redirect": {"address": "10.96.0.1", "port": 18080, "to": 15006}},
        connect("redirected", address="10.96.0.1", port=18080),
        connect("itself", address="127.0.0.1", port=18080),
    ]
    total = {"connections": {"total": 1}}
    no_one = {"connections": {"total": "none"}}
    expect = [
        *fates_of(redirected="answered", itself="answered"),
        {"listener": {"name": "inbound"}, "during": "redirected", **total},
        {"listener": {"name": "web"}, "during": "redirected", **no_one},
        {"listener": {"name": "inbound"}, "during": "itself", **no_one},
        {"listener": {"name": "web"}, "during": "itself", **total},
    ]
    _, verdict = run(probe, scenario(beside, steps=steps, expect=expect))
    assert not unmet(verdict)


def test_load_on_an_address_where_nothing_listens_is_refused(probe: Probe) -> None:
    load = {"send": "hello", "clients": 2, "around": 2}
    steps = [
        {
            "name": name,
            "healthcheck": "ok",
            "load": {**load, "listener": {"address": host, "port": 1}},
        }
        for name, host in (("v4", "127.0.0.1"), ("v6", "::1"))
    ]
    web = listener("web", "127.0.0.1", 1)
    expect = fates_of(v4="answered", v6="refused")
    _, verdict = run(probe, scenario([web], steps=steps, expect=expect))
    assert not unmet(verdict)


def test_name_is_that_of_a_listener_of_the_envoy_that_was_started_last(probe: Probe) -> None:
    admin = {"admin": {"address": {"socket_address": {"port_value": 9902}}}}
    place = {"address": {"socket_address": {"port_value": 10001}}}
    overlay = {**admin, "static_resources": {"listeners": {"web": place}}}
    steps = [
        connect("before", name="web"),
        {"name": "second", "start": {"overlay": overlay, "args": ["--base-id", "1"]}},
        connect("after", name="web"),
        connect("first_still", address="127.0.0.1", port=10000),
    ]
    parts = {"requires": {"launcher": "process"}}
    expect = fates_of(before="answered", after="answered", first_still="answered")
    web = listener("web", "127.0.0.1", 10000)
    result, verdict = run(probe, scenario([web], steps=steps, expect=expect, **parts))
    assert not unmet(verdict)
    asked = [str(attempt.address) for phase in result.trace.phases for attempt in phase.attempts]
    assert asked == ["127.0.0.1:10000", "127.0.0.1:10001", "127.0.0.1:10000"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_client_of_a_relative_path_goes_where_envoy_works(
    probe: Probe, launcher: Preference
) -> None:
    echo = {**listener("echo", "", 0), "address": {"pipe": {"path": "echo.sock"}}}
    load = {"listener": {"name": "echo"}, "send": "hello", "clients": 1}
    steps = [connect("client", name="echo"), {"signal": "SIGUSR1", "load": load}]
    expect = fates_of(client="answered", signal="answered")
    assert not unmet(run(probe, scenario([echo], steps=steps, expect=expect), launcher)[1])


def test_client_of_mptcp_speaks_it(probe: Probe) -> None:
    web = {**listener("web", "127.0.0.1", 10000), "enable_mptcp": True}
    steps = [
        connect("tcp", name="web"),
        connect("mptcp", port=10000, protocol="MPTCP"),
    ]
    expect = fates_of(tcp="answered", mptcp="answered")
    result, verdict = run(probe, scenario([web], steps=steps, expect=expect))
    assert not unmet(verdict)
    spoken = [attempt.protocol for phase in result.trace.phases for attempt in phase.attempts]
    assert spoken == ["TCP", "MPTCP"]
