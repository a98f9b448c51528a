"""Drafted scenarios on a real Envoy: each passes, and each single edit of the config fails.

An edit is made as a user would make it, in the config file; the scenario stays as it was drafted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from envoyassert.cli.check import check
from envoyassert.cli.draft import draft
from envoyassert.errors import ScenarioError
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun, run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from tests.e2e.launching import bootstrap, echo_listener
from tests.e2e.verdicts import not_passed

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

Config = dict[str, Any]

KEEPALIVE = "{level: 1, name: 9, int_value: 1, state: STATE_PREBIND}"
UDP = (
    "{name: datagrams, address: {socket_address: {protocol: UDP, address: 127.0.0.1, "
    "port_value: 10000}}, listener_filters: [{name: envoy.filters.udp_listener.udp_proxy, "
    'typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.'
    "UdpProxyConfig, stat_prefix: u, matcher: {on_no_match: {action: {name: route, typed_config: "
    '{"@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route, cluster: up'
    "}}}}}}]%s}"
)


def at(place: str) -> str:
    """A listener at an address that `echo_listener` does not know."""
    return echo_listener().replace(
        "{socket_address: {address: 127.0.0.1, port_value: 10000}}", place
    )


def ipv6(host: str, more: str = "") -> str:
    return at(f'{{socket_address: {{address: "{host}", port_value: 10000{more}}}}}')


#: One that comes by LDS, with fields whose JSON differs from what a person writes.
DYNAMIC = echo_listener(
    10002,
    '"@type": type.googleapis.com/envoy.config.listener.v3.Listener, '
    f"enable_reuse_port: false, tcp_keepalive: {{keepalive_probes: 3}}, "
    f"tcp_fast_open_queue_length: 5, socket_options: [{KEEPALIVE}, {{level: 6, name: 9, "
    "buf_value: AwAAAA==, state: STATE_LISTENING}], additional_addresses: [{address: "
    "{socket_address: {address: 127.0.0.1, port_value: 10003}}, socket_options: {socket_options: "
    "[{level: 6, name: 1, int_value: 1, state: STATE_BOUND}]}}],",
)

CONFIGS = {
    "plain": bootstrap(echo_listener()),
    "switched_on": bootstrap(echo_listener(more="enable_reuse_port: true,")),
    "switched_off": bootstrap(echo_listener(more="enable_reuse_port: false,")),
    "deprecated": bootstrap(echo_listener(more="reuse_port: false,")),
    "backlog": bootstrap(echo_listener(more="tcp_backlog_size: 64,")),
    "two": bootstrap(echo_listener() + "," + echo_listener(10001, "enable_reuse_port: false,")),
    "virtual": bootstrap(echo_listener() + "," + echo_listener(10001, "bind_to_port: false,")),
    "three_addresses": bootstrap(
        echo_listener(
            more=f"socket_options: [{KEEPALIVE}], additional_addresses: ["
            "{address: {socket_address: {address: 127.0.0.1, port_value: 10001}}, socket_options: "
            "{socket_options: [{level: 6, name: 1, int_value: 1}]}}, "
            "{address: {socket_address: {address: 127.0.0.1, port_value: 10002}}, socket_options: "
            "{socket_options: []}}],"
        )
    ),
    "states": bootstrap(
        echo_listener(
            more=f"socket_options: [{KEEPALIVE}, {{level: 6, name: 4, int_value: 42, state: "
            "STATE_BOUND}, {level: 6, name: 9, int_value: 3, state: STATE_LISTENING}],"
        )
    ),
    "states_shared": bootstrap(
        echo_listener(
            more=f"enable_reuse_port: false, socket_options: [{KEEPALIVE}, "
            "{level: 6, name: 9, buf_value: AwAAAA==, state: STATE_LISTENING}],"
        )
    ),
    "freebind": bootstrap(
        at("{socket_address: {address: 192.0.2.7, port_value: 10000}}, freebind: true")
    ),
    "transparent": bootstrap(echo_listener(more="transparent: true,")),
    "fast_open": bootstrap(echo_listener(more="tcp_fast_open_queue_length: 5,")),
    "multipath": bootstrap(echo_listener(more="enable_mptcp: true,")),
    "loopback_v6": bootstrap(ipv6("::1")),
    "any_v6": bootstrap(ipv6("::", ", ipv4_compat: true")),
    "kernel_chooses": bootstrap(at("{socket_address: {address: 127.0.0.1, port_value: 0}}")),
    "path": bootstrap(at('{pipe: {path: "${rundir}/in.sock", mode: 432}}')),
    "abstract": bootstrap(at('{pipe: {path: "@in"}}')),
    "datagrams": bootstrap(UDP % "")
    + "  clusters: [{name: up, connect_timeout: 1s, type: STATIC}]\n",
    "datagrams_shared": bootstrap(UDP % ", enable_reuse_port: false")
    + "  clusters: [{name: up, connect_timeout: 1s, type: STATIC}]\n",
    "admin_options": bootstrap(echo_listener()).replace(
        "static_resources", f"  socket_options: [{KEEPALIVE}]\nstatic_resources", 1
    ),
    "without_admin": bootstrap(echo_listener()).partition("static_resources")[1]
    + bootstrap(echo_listener()).partition("static_resources")[2],
}


def place_of(config: Config) -> dict[str, Any]:
    place = config["static_resources"]["listeners"][0]["address"]
    found: dict[str, Any] = place["pipe"] if "pipe" in place else place["socket_address"]
    return found


def flip_reuse_port(config: Config) -> bool:
    listener = config["static_resources"]["listeners"][0]
    listener["enable_reuse_port"] = not listener.get("enable_reuse_port", True)
    return "path" not in place_of(config)  # a Unix socket is shared in any case


def move(config: Config) -> bool:
    place = place_of(config)
    if "path" in place:
        place["path"] += "2"
    else:
        place["port_value"] += 7
    return True


def add_option(config: Config) -> bool:
    options = config["static_resources"]["listeners"][0].setdefault("socket_options", [])
    options.append({"level": 1, "name": 8, "int_value": 65536})
    return "path" not in place_of(config)  # Envoy applies none to a Unix socket


def change_option(config: Config) -> bool:
    options = config["static_resources"]["listeners"][0].get("socket_options", [])
    if options:
        options[0]["name"] = 12  # SO_PRIORITY
    return bool(options)


def change_backlog(config: Config) -> bool:
    config["static_resources"]["listeners"][0]["tcp_backlog_size"] = 77
    return place_of(config).get("protocol") != "UDP"


def remove(config: Config) -> bool:
    del config["static_resources"]["listeners"][0]
    return True


EDITS: dict[str, Callable[[Config], bool]] = {
    "reuse_port": flip_reuse_port,
    "address": move,
    "option": add_option,
    "changed option": change_option,
    "backlog": change_backlog,
    "removed": remove,
}


def load_and_expand(scenario: Path, version: str = "1.40.0") -> list[RunPlan]:
    return expand(load_scenario(scenario), envoys=[EnvoySource(version=version)])


def verdict(scenario: Path, probe: Probe, version: str = "1.40.0") -> Verdict:
    (plan,) = load_and_expand(scenario, version)
    result = run_plan(plan, probe, "process")
    return judge(result.trace, result.plan.expectations, workers=result.plan.workers)


def drafted(directory: Path, name: str) -> Path:
    config, scenario = directory / "envoy.yaml", directory / f"{name}.envoyassert.yaml"
    config.write_text(CONFIGS[name])
    done = CliRunner().invoke(draft, [str(config), "-o", str(scenario)])
    assert done.exit_code == 0, done.output
    return scenario


def written(directory: Path, name: str, config: str, scenario: str) -> Path:
    """Write an edited config, and the scenario that refers to it."""
    directory.mkdir()
    (directory / "envoy.yaml").write_text(config)
    path = directory / f"{name}.envoyassert.yaml"
    path.write_text(scenario)
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_draft_passes_and_every_single_edit_fails(name: str, tmp_path: Path, probe: Probe) -> None:
    scenario = drafted(tmp_path, name)
    text = scenario.read_text()
    for version in ("1.36.4", "1.40.0"):
        as_drafted = verdict(scenario, probe, version)
        assert as_drafted.status is Status.PASS, (version, not_passed(as_drafted))
    data = yaml.safe_load(CONFIGS[name])
    pending = {}
    # Starting Envoy is mostly waiting: two runs at a time, each in a place of its own.
    with ThreadPoolExecutor(2) as pool:
        for edit, change in EDITS.items():
            edited = copy.deepcopy(data)
            if not change(edited):
                continue
            scenario = written(tmp_path / edit, name, yaml.safe_dump(edited), text)
            if (name, edit) == ("kernel_chooses", "removed"):
                # Such a listener is known by its name alone: its absence shows before a run.
                with pytest.raises(ScenarioError, match="has no listener"):
                    load_and_expand(scenario)
            else:
                pending[edit] = pool.submit(verdict, scenario, probe)
        workers = "concurrency: 1 " if name == "datagrams_shared" else "concurrency: 2 "
        assert workers in text
        more = text.replace(workers, "concurrency: 3 ")
        scenario = written(tmp_path / "concurrency", name, CONFIGS[name], more)
        pending["concurrency"] = pool.submit(verdict, scenario, probe)
    survived = [edit for edit, run in pending.items() if run.result().status is not Status.FAIL]
    assert survived == []


RUNNING = f"""
name: running
envoy:
  concurrency: 2
  config:
    node: {{id: here, cluster: here}}
    dynamic_resources:
      lds_config: {{resource_api_version: V3, path_config_source: {{path: "${{rundir}}/lds.yaml"}}}}
    admin:
      address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}
      socket_options: [{KEEPALIVE}]
    static_resources:
      listeners:
      - {echo_listener(10000, "tcp_backlog_size: 64,")}
      - {echo_listener(10001, "bind_to_port: false,")}
  files:
    lds.yaml: |
      resources:
      - {DYNAMIC}
expect:
- process: {{live: true}}
"""


def test_draft_of_what_a_running_envoy_dumps_passes_on_its_stand_in(
    tmp_path: Path, probe: Probe
) -> None:
    """The dump is as Envoy writes it: its own spelling of numbers, enums and defaults."""
    running, dump = tmp_path / "running.yaml", tmp_path / "dump.json"
    running.write_text(RUNNING)
    (plan,) = load_and_expand(running)
    with ProcessLauncher() as launcher, LiveRun(plan, probe, launcher) as run:
        status, body = run.admin_get("/config_dump")
        trace = run.trace()
    assert status == 200
    dump.write_text(body)
    scenario = tmp_path / "dumped.envoyassert.yaml"
    for command, arguments in ((draft, [str(dump), "-o", str(scenario)]), (check, [str(scenario)])):
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 0, done.output
    text = scenario.read_text()
    assert [port for port in range(10000, 10004) if f"port: {port}" in text] == [
        10000,
        10002,
        10003,
    ]
    as_drafted = verdict(scenario, probe)
    assert as_drafted.status is Status.PASS, not_passed(as_drafted)
    # It says all that the running Envoy did, of what came by LDS as well.
    expectations = load_and_expand(scenario)[0].expectations
    seen = judge(trace, expectations, workers=plan.workers)
    assert seen.status is Status.PASS, not_passed(seen)
