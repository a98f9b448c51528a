"""Dumps of every origin, drafted without what they refer to, and run as they are.

What a real Envoy answers to /config_dump is drafted in each of its forms; the shapes of gateways,
meshes and control planes are written here, with filters, secrets and addresses of elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from envoyassert.cli.check import check
from envoyassert.cli.draft import draft
from envoyassert.cli.plan import plan
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Status, Verdict
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.launch.process import ProcessLauncher
from envoyassert.probe import Probe
from envoyassert.runner import LiveRun, run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from envoyassert.scenario.plan import RunPlan
from envoyassert.trace_file import write_trace
from tests.e2e.launching import echo_listener
from tests.e2e.verdicts import not_passed

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

VERSIONS = ("1.36.4", "1.40.0")
TYPES = "type.googleapis.com/envoy."
LISTENER = f"{TYPES}config.listener.v3.Listener"


def plan_of(scenario: Path, version: str) -> RunPlan:
    (plan,) = expand(load_scenario(scenario), envoys=[EnvoySource(version=version)])
    return plan


def verdict(scenario: Path, probe: Probe, version: str) -> Verdict:
    result = run_plan(plan_of(scenario, version), probe, "process")
    return judge(result.trace, result.plan.expectations, workers=result.plan.workers)


def drafted(directory: Path, file: str, content: str, *more: str) -> Path:
    """Draft a scenario, check it, and return its file."""
    (directory / file).write_text(content)
    scenario = directory / f"{file.partition('.')[0]}.envoyassert.yaml"
    arguments = [str(directory / file), "-o", str(scenario), "--force", *more]
    for command, given in ((draft, arguments), (check, [str(scenario)])):
        done = CliRunner().invoke(command, given)
        assert done.exit_code == 0, done.output
    return scenario


def ports_of(scenario: Path) -> list[Any]:
    items = yaml.safe_load(scenario.read_text())["expect"]
    return sorted(item["listener"]["port"] for item in items if "bound" in item)


RUNNING = f"""
name: running
envoy:
  concurrency: 2
  config:
    node: {{id: here, cluster: here}}
    dynamic_resources:
      lds_config: {{resource_api_version: V3, path_config_source: {{path: "${{rundir}}/lds.yaml"}}}}
    admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}}}
    static_resources:
      listeners:
      - address: {{socket_address: {{address: 127.0.0.1, port_value: 10000}}}}
        filter_chains: [{{}}]
      - {echo_listener(10001, "tcp_backlog_size: 64,")}
  files:
    lds.yaml: |
      resources:
      - {echo_listener(10002, f'"@type": {LISTENER}, enable_reuse_port: false,')}
      - {echo_listener(10003, f'"@type": {LISTENER}, bind_to_port: false,')}
      - {{"@type": {LISTENER}, name: refused, filter_chains: [{{}}],
         address: {{socket_address: {{address: 192.0.2.1, port_value: 10004}}}}}}
expect:
- process: {{live: true}}
"""
#: What is asked for, and the ports that are drafted from it.
ASKED = {
    "": [9901, 10000, 10001, 10002],
    "?include_eds": [9901, 10000, 10001, 10002],
    "?name_regex=.*10002": [9901, 10000, 10001, 10002],  # the bootstrap has the static ones
    "?resource=static_listeners": [10000, 10001],
    "?resource=dynamic_listeners": [10002],
    "?mask=dynamic_listeners": [10002],
    "?mask=bootstrap": [9901, 10000, 10001],
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_form_of_what_a_running_envoy_dumps_is_drafted(
    version: str, tmp_path: Path, probe: Probe
) -> None:
    running = tmp_path / "running.yaml"
    running.write_text(RUNNING)
    with ProcessLauncher() as launcher, LiveRun(plan_of(running, version), probe, launcher) as run:
        answers = {query: run.admin_get(f"/config_dump{query}") for query in ASKED}
        masked = run.admin_get("/config_dump?resource=dynamic_listeners&mask=name")[1]
    scenarios = {}
    for number, (query, (status, body)) in enumerate(answers.items()):
        assert status == 200, body
        scenarios[query] = drafted(tmp_path, f"dump{number}.json", body)
    assert {query: ports_of(scenario) for query, scenario in scenarios.items()} == ASKED
    (line,) = (one for one in scenarios[""].read_text().splitlines() if "refused by Envoy" in one)
    assert "left out: refused (cannot bind '192.0.2.1:10004'" in line
    (tmp_path / "masked.json").write_text(masked)
    done = CliRunner().invoke(draft, [str(tmp_path / "masked.json")])
    assert "only named, a mask left out the config" in str(done.exception)
    as_drafted = verdict(scenarios[""], probe, version)
    assert as_drafted.status is Status.PASS, not_passed(as_drafted)
    # Asked for part by part, one after another, it is the same.
    parts = [body for query, (_, body) in answers.items() if "resource" in query or "boot" in query]
    together = drafted(tmp_path, "parts.json", "\n".join(parts))
    assert ports_of(together) == ASKED[""]


def listener(name: str, host: str, port: int, **more: Any) -> dict[str, Any]:
    """A listener with a filter that no Envoy of these tests has."""
    place: dict[str, Any] = {"address": host, "portValue": port}
    for field in ("protocol", "ipv4Compat"):
        if field in more:
            place[field] = more.pop(field)
    config = {"@type": f"{TYPES}extensions.filters.of.another.v9.Build", "cluster": "gone"}
    chain = {"filters": [{"name": "another.build", "typedConfig": config}]}
    return {"name": name, "address": {"socketAddress": place}, "filterChains": [chain], **more}


def secured(one: dict[str, Any], kind: str, message: str) -> dict[str, Any]:
    """Have its connections secured with a certificate that a server has."""
    secret = {"name": "kubernetes://cert", "sdsConfig": {"ads": {}, "resourceApiVersion": "V3"}}
    context: dict[str, Any] = {"commonTlsContext": {"tlsCertificateSdsSecretConfigs": [secret]}}
    if kind == "quic":
        context = {"downstreamTlsContext": context}
    config = {"@type": f"{TYPES}extensions.transport_sockets.{kind}.v3.{message}", **context}
    socket = {"name": f"envoy.transport_sockets.{kind}", "typedConfig": config}
    return {**one, "filterChains": [{**one["filterChains"][0], "transportSocket": socket}]}


def section(*listeners: dict[str, Any]) -> dict[str, Any]:
    states = [
        {"name": o["name"], "activeState": {"listener": {"@type": LISTENER, **o}}}
        for o in listeners
    ]
    return {"@type": f"{TYPES}admin.v3.ListenersConfigDump", "dynamicListeners": states}


QUIC = {"protocol": "UDP", "udpListenerConfig": {"quicOptions": {}, "downstreamSocketConfig": {}}}
#: A gateway that serves HTTP/3 beside TLS, by namespace and pod, twice the same.
GATEWAY = section(
    secured(listener("ns/eg/https", "::", 10443, ipv4Compat=True), "tls", "DownstreamTlsContext"),
    secured(
        listener("ns/eg/https-quic", "::", 10443, ipv4Compat=True, **QUIC),
        "quic",
        "QuicDownstreamTransport",
    ),
    listener("ns/eg/dns", "0.0.0.0", 10053, protocol="UDP", udpListenerConfig={}),
)
#: A sidecar's listeners as a list: its own static one, those of the mesh, virtual and internal.
SIDECAR: list[dict[str, Any]] = [
    listener("", "0.0.0.0", 15090),
    listener("virtualOutbound", "0.0.0.0", 15001, useOriginalDst=True),
    {
        **listener("virtualInbound", "0.0.0.0", 15006),
        "trafficDirection": "INBOUND",
        "listenerFilters": [{"name": "envoy.filters.listener.original_dst"}],
    },
    listener("10.96.0.1_443", "10.96.0.1", 443, bindToPort=False),
    {"name": "connect_originate", "internalListener": {}, "filterChains": [{}]},
]
#: A data plane's resources by type, bound to the pod's address.
DATA_PLANE = {
    "diff": [],
    "xds": {
        f"{TYPES}config.cluster.v3.Cluster": {"up": {"name": "up", "type": "EDS"}},
        LISTENER: {
            "inbound": listener("inbound", "10.42.0.7", 8080, enableReusePort=False),
            "outbound": listener("outbound", "127.0.0.1", 8081, enableMptcp=True),
        },
    },
}
#: What a control plane sent, one response after another.
RESPONSES = [
    {"system_version_info": "1", "type_url": LISTENER, "resources": [
        {"name": name, "resource": {"@type": LISTENER, **listener(name, "0.0.0.0", port)}}
        for name, port in (("gone", 10001), ("moved", 10002))]},
    {"system_version_info": "2", "type_url": LISTENER, "removed_resources": ["gone"],
     "resources": [{"name": "moved", "resource":
         {"@type": LISTENER, **listener("moved", "0.0.0.0", 10003, tcpBacklogSize=64)}}]},
]  # fmt: skip

SHAPES = {
    "gateway.yaml": (
        yaml.safe_dump({"default": {"a": GATEWAY, "b": GATEWAY}}),
        [10053, 10443, 10443],
    ),
    "sidecar.json": (json.dumps(SIDECAR), [15001, 15006, 15090]),
    "data_plane.json": (json.dumps(DATA_PLANE), [8080, 8081]),
    "responses.json": ("\n".join(map(json.dumps, RESPONSES)), [10003]),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", SHAPES)
def test_draft_of_a_dump_passes(file: str, version: str, tmp_path: Path, probe: Probe) -> None:
    content, ports = SHAPES[file]
    scenario = drafted(tmp_path, file, content)
    assert ports_of(scenario) == ports
    as_drafted = verdict(scenario, probe, version)
    assert as_drafted.status is Status.PASS, not_passed(as_drafted)


BOOTSTRAP = f"""
node: {{id: a, cluster: a}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 15000}}}}}}
dynamic_resources:
  lds_config: {{ads: {{}}, initial_fetch_timeout: 0s, resource_api_version: V3}}
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: server}}}}]
static_resources:
  clusters: [{{name: server, connect_timeout: 1s, type: STATIC}}]
  listeners:
  - {{address: {{socket_address: {{address: 0.0.0.0, port_value: 15090}}}}, filter_chains: [{{}}]}}
  - {echo_listener(15021)}
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_bootstrap_with_a_list_and_with_quic_serves_what_it_does_not_have_itself(
    version: str, tmp_path: Path, probe: Probe
) -> None:
    listed = [*SIDECAR, GATEWAY["dynamicListeners"][1]["activeState"]["listener"]]
    (tmp_path / "listeners.json").write_text(json.dumps(listed))
    more = ("--with", str(tmp_path / "listeners.json"))
    scenario = drafted(tmp_path, "boot.yaml", BOOTSTRAP, *more)
    assert ports_of(scenario) == [10443, 15000, 15001, 15006, 15021, 15090]
    as_drafted = verdict(scenario, probe, version)
    assert as_drafted.status is Status.PASS, not_passed(as_drafted)


def test_draft_of_a_trace_with_quic_passes_on_its_stand_in(tmp_path: Path, probe: Probe) -> None:
    """Two ways to one draft: what a stand-in of a dump did is stood in for once more."""
    scenario = drafted(tmp_path, "gateway.yaml", SHAPES["gateway.yaml"][0])
    result = run_plan(plan_of(scenario, VERSIONS[-1]), probe, "process")
    write_trace(result.trace, tmp_path / "seen.ndjson")
    again = drafted(tmp_path, "seen.ndjson", (tmp_path / "seen.ndjson").read_text())
    assert "QUIC has a made certificate" in again.read_text()
    assert ports_of(again) == ports_of(scenario)
    as_drafted = verdict(again, probe, VERSIONS[-1])
    assert as_drafted.status is Status.PASS, not_passed(as_drafted)


def test_plan_holds_dumps_together(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(DATA_PLANE))
    after.write_text(json.dumps(DATA_PLANE).replace('"enableReusePort": false', '"freebind": true'))
    for new, said in (
        (before, "no start-up differences: 2 listeners"),
        (after, "1 listener changes, 1 unchanged"),
    ):
        done = CliRunner().invoke(plan, [str(before), str(new), "--launcher", "process"])
        assert done.exit_code == 0, done.output
        assert said in done.output
