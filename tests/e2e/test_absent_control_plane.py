"""Configs whose control plane, network and addresses are elsewhere, drafted and run as they are.

The bootstraps have the shape of those that meshes and gateways write: what they ask, whom, and
what they bind of their own.
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
from envoyassert.launch.choose import Preference
from envoyassert.launch.envoy_source import EnvoySource
from envoyassert.probe import Probe
from envoyassert.report.headline import headline
from envoyassert.runner import RunResult, run_plan
from envoyassert.scenario.load import load_scenario
from envoyassert.scenario.matrix import expand
from tests.e2e.verdicts import not_passed

pytestmark = [pytest.mark.bpf, pytest.mark.envoy, pytest.mark.slow]

VERSIONS = ("1.36.4", "1.40.0")

_HTTP = """
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.\
v3.HttpConnectionManager
          stat_prefix: in
          %s
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"""
_INLINE = _HTTP % "route_config: {virtual_hosts: [{name: all, domains: ['*']}]}"
_HTTP2 = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}"""

#: A sidecar: everything from an agent on a Unix socket, and two listeners of its own.
SIDECAR = f"""
node: {{id: sidecar~10.0.0.7~a.b~b.svc, cluster: a.b, metadata: {{LABELS: {{app: a}}}}}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 15000}}}}}}
layered_runtime:
  layers:
  - {{name: global, static_layer: {{re2.max_program_size.error_level: "32768"}}}}
  - {{name: admin, admin_layer: {{}}}}
dynamic_resources:
  lds_config: {{ads: {{}}, initial_fetch_timeout: 0s, resource_api_version: V3}}
  cds_config: {{ads: {{}}, initial_fetch_timeout: 0s, resource_api_version: V3}}
  ads_config:
    api_type: GRPC
    set_node_on_first_message_only: true
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: agent}}}}]
static_resources:
  clusters:
  - name: agent
    type: STATIC
    connect_timeout: 1s{_HTTP2}
    load_assignment:
      cluster_name: agent
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: ./etc/agent/XDS}}}}}}}}]
  listeners:
  - address: {{socket_address: {{address: 0.0.0.0, port_value: 15090}}}}
    filter_chains:
    - filters:{_INLINE}
  - address: {{socket_address: {{address: 0.0.0.0, port_value: 15021}}}}
    filter_chains:
    - filters:{_INLINE}
"""

#: A gateway: incremental, from a server by its name, with runtime and secrets from there too.
GATEWAY = f"""
node: {{id: gateway-1, cluster: gateway}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 19000}}}}}}
layered_runtime:
  layers:
  - name: from_server
    rtds_layer: {{name: from_server, rtds_config: {{ads: {{}}, resource_api_version: V3}}}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{{envoy_grpc: {{cluster_name: server}}}}]
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  listeners:
  - name: ready
    address: {{socket_address: {{address: 0.0.0.0, port_value: 19003}}}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
DownstreamTlsContext
          common_tls_context:
            tls_certificate_sds_secret_configs:
            - {{name: own, sds_config: {{ads: {{}}, resource_api_version: V3}}}}
      filters:{_INLINE}
  clusters:
  - name: server
    type: STRICT_DNS
    connect_timeout: 10s{_HTTP2}
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: gateway.system.test, \
port_value: 18000}}}}}}
"""

#: A proxy beside a local agent: JSON, no listener of its own but the one for statistics.
AGENT = json.dumps(
    {
        "admin": {
            "access_log_path": "/dev/null",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 19000}},
        },
        "node": {"cluster": "web", "id": "web-proxy", "metadata": {"namespace": "default"}},
        "static_resources": {
            "clusters": [
                {
                    "name": "local_agent",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "http2_protocol_options": {},
                    "loadAssignment": {
                        "clusterName": "local_agent",
                        "endpoints": [
                            {
                                "lbEndpoints": [
                                    {
                                        "endpoint": {
                                            "address": {
                                                "socket_address": {
                                                    "address": "127.0.0.1",
                                                    "port_value": 8502,
                                                }
                                            }
                                        }
                                    }
                                ]
                            }
                        ],
                    },
                }
            ],
            "listeners": [
                {
                    "name": "statistics",
                    "address": {"socket_address": {"address": "0.0.0.0", "port_value": 20200}},
                    "filter_chains": [{}],
                }
            ],
        },
        "dynamic_resources": {
            "lds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "cds_config": {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"},
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": {
                    "initial_metadata": [{"key": "token", "value": "x"}],
                    "envoy_grpc": {"cluster_name": "local_agent"},
                },
            },
        },
    }
)

#: A data plane: the admin endpoint alone, node and all else from a server, health checks too. The
#: client is gRPC's own C core, which asks for IPv6 before it connects.
DATA_PLANE = f"""
node: {{id: default.web, cluster: web, metadata: {{dataplane.admin.port: "9901"}}}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}}}
hds_config:
  api_type: GRPC
  transport_api_version: V3
  set_node_on_first_message_only: true
  grpc_services: [{{envoy_grpc: {{cluster_name: server}}}}]
dynamic_resources:
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{{google_grpc: {{target_uri: "localhost:5678", stat_prefix: ads}}}}]
static_resources:
  clusters:
  - name: server
    type: STRICT_DNS
    connect_timeout: 1s{_HTTP2}
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: plane.system.test, \
port_value: 5678}}}}}}
"""

_RDS = _HTTP % (
    "rds: {route_config_name: any, config_source: {resource_api_version: V3, api_config_source: "
    "{api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: "
    "{cluster_name: server}}]}}}"
)
#: Routes from a server that has no name; no admin endpoint says whether Envoy is LIVE.
ROUTES = f"""
node: {{id: front, cluster: front}}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: 10000}}}}
    filter_chains:
    - filters:{_RDS}
  clusters:
  - name: server
    type: STATIC
    connect_timeout: 1s{_HTTP2}
    load_assignment:
      cluster_name: server
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, \
port_value: 1}}}}}}}}]}}]
"""

SHAPES = {
    "sidecar": SIDECAR,
    "gateway": GATEWAY,
    "agent": AGENT,
    "data_plane": DATA_PLANE,
    "routes": ROUTES,
}


def drafted(directory: Path, name: str, config: str, *more: str) -> Path:
    """Draft a scenario from a config, check it, and return its file."""
    file, scenario = directory / f"{name}.envoy.yaml", directory / f"{name}.envoyassert.yaml"
    file.write_text(config)
    for command, arguments in (
        (draft, [str(file), "-o", str(scenario), "--force", *more]),
        (check, [str(scenario)]),
    ):
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == 0, done.output
    return scenario


def run(scenario: Path, probe: Probe, version: str, launcher: Preference = "process") -> RunResult:
    (plan,) = expand(load_scenario(scenario), envoys=[EnvoySource(version=version)])
    return run_plan(plan, probe, launcher)


def judged(result: RunResult) -> Verdict:
    return judge(result.trace, result.plan.expectations, workers=result.plan.workers)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SHAPES)
def test_draft_passes_without_the_server_that_its_config_asks(
    name: str, version: str, tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, name, SHAPES[name])
    result = run(scenario, probe, version)
    verdict = judged(result)
    assert verdict.status is Status.PASS, not_passed(verdict)
    (said,) = result.trace.header.stood_in
    assert "answered with nothing, instead of a server" in said
    assert "no_others: true" in scenario.read_text()


def dump_of(directory: Path, *listeners: dict[str, Any]) -> Path:
    """Write what an Envoy dumps of listeners that it was given."""
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    states = [
        {"name": one["name"], "active_state": {"listener": {"@type": kind, **one}}}
        for one in listeners
    ]
    section = {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"}
    dump = directory / "dump.json"
    dump.write_text(json.dumps({"configs": [{**section, "dynamic_listeners": states}]}))
    return dump


def place(port: int, **more: str) -> dict[str, Any]:
    return {"socket_address": {"address": "0.0.0.0", "port_value": port, **more}}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["sidecar", "silent"])
def test_draft_with_a_dump_has_its_listeners_beside_the_configs_own(
    name: str, version: str, tmp_path: Path, probe: Probe
) -> None:
    dump = dump_of(
        tmp_path,
        {"name": "inbound", "address": place(15006), "enable_reuse_port": False},
        {"name": "names", "address": place(53, protocol="UDP")},
        {"name": "virtual", "address": place(80), "bind_to_port": False},
    )
    # Without an admin endpoint only the trace says what Envoy makes of the listeners.
    admin = SIDECAR[SIDECAR.index("admin: ") : SIDECAR.index("layered_runtime")]
    config = SIDECAR if name == "sidecar" else SIDECAR.replace(admin, "")
    scenario = drafted(tmp_path, name, config, "--with", str(dump))
    ports = [
        item["listener"]["port"]
        for item in yaml.safe_load(scenario.read_text())["expect"]
        if "bound" in item
    ]
    assert ports == [15000] * (name == "sidecar") + [15090, 15021, 15006, 53]
    result = run(scenario, probe, version)
    verdict = judged(result)
    assert verdict.status is Status.PASS, not_passed(verdict)
    assert [one.partition(":")[0] for one in result.trace.header.stood_in] == [
        "lds_config",
        "cds_config",
    ]


@pytest.mark.parametrize("name", ["sidecar", "data_plane"])
def test_plan_stands_in_for_what_a_draft_stands_in_for(name: str, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(SHAPES[name])
    done = CliRunner().invoke(plan, [str(file), str(file), "--launcher", "process"])
    assert done.exit_code == 0, done.output
    assert "answered with nothing, instead of a server" in done.output
    assert "not live" not in done.output


#: A cluster by a name, looked up by the C library, whose failures Envoy takes for temporary.
NAMED = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
static_resources:
  listeners:
  - {name: front, address: {socket_address: {address: 127.0.0.1, port_value: 10000}}, \
filter_chains: [{}]}
  clusters:
  - name: named
    type: STRICT_DNS
    connect_timeout: 1s
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.getaddrinfo
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.getaddrinfo.v3.\
GetAddrInfoDnsResolverConfig
    load_assignment:
      cluster_name: named
      endpoints:
      - lb_endpoints: [{endpoint: {address: {socket_address: {address: HOST, port_value: 80}}}}]
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_name_that_cannot_be_looked_up_fails_at_once(
    version: str, tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, "named", NAMED.replace("HOST", "backend.test"))
    assert "finds in the run's own network: backend.test" in scenario.read_text()
    result = run(scenario, probe, version)
    verdict = judged(result)
    assert verdict.status is Status.PASS, not_passed(verdict)
    # A lookup takes a few calls; one that is repeated without end takes ten thousands.
    known = run(drafted(tmp_path, "known", NAMED.replace("HOST", "localhost")), probe, version)
    assert len(result.trace.events) < 2 * len(known.trace.events)


@pytest.mark.docker
def test_name_that_cannot_be_looked_up_fails_at_once_in_a_container(
    tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, "named", NAMED.replace("HOST", "backend.test"))
    verdict = judged(run(scenario, probe, VERSIONS[-1], "docker"))
    assert verdict.status is Status.PASS, not_passed(verdict)


#: What a pod's Envoy binds: its own addresses, one of them on a device, the admin endpoint too.
POD = """
admin: {address: {socket_address: {address: 10.1.2.3, port_value: 9901}}}
static_resources:
  listeners:
  - name: pod
    address: {socket_address: {address: 10.1.2.3, port_value: 8080}}
    additional_addresses:
    - {address: {socket_address: {address: "2001:db8::7", port_value: 8080}}}
    filter_chains: [{}]
  - name: mapped
    address: {socket_address: {address: "::ffff:10.1.2.4", port_value: 8081, ipv4_compat: true}}
    filter_chains: [{}]
  - name: host
    address: {socket_address: {address: 192.0.2.5, port_value: 80}}
    # SO_BINDTODEVICE to eth7
    socket_options: [{level: 1, name: 25, buf_value: ZXRoNw==, state: STATE_PREBIND}]
    filter_chains: [{}]
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_addresses_of_elsewhere_are_bound_as_they_are(
    version: str, tmp_path: Path, probe: Probe
) -> None:
    scenario = drafted(tmp_path, "pod", POD)
    given = ["10.1.2.3", "2001:db8::7", "10.1.2.4", "192.0.2.5%eth7"]
    assert yaml.safe_load(scenario.read_text())["envoy"]["addresses"] == given
    result = run(scenario, probe, version)
    verdict = judged(result)
    assert verdict.status is Status.PASS, not_passed(verdict)
    said = "10.1.2.3, 2001:db8::7, 10.1.2.4, 192.0.2.5%eth7: given to the run's own network"
    assert result.trace.header.stood_in == (said,)


def test_address_that_is_not_given_is_still_missing(tmp_path: Path, probe: Probe) -> None:
    scenario = drafted(tmp_path, "pod", POD)
    text = scenario.read_text()
    (line,) = (line for line in text.splitlines() if "  addresses:" in line)
    scenario.write_text(text.replace(line, "  addresses: [10.1.2.3, 10.1.2.4, 192.0.2.5%eth7]"))
    result = run(scenario, probe, VERSIONS[-1])
    failed = [event for event in result.trace.events if event.errno == "EADDRNOTAVAIL"]
    assert {str(event.args["address"]) for event in failed} == {"[2001:db8::7]:8080"}
    assert judged(result).status is Status.FAIL


def waiting(tmp_path: Path, probe: Probe, timeout: str, deadline: str = "") -> RunResult:
    """Run a config that waits for routes so long, and has no admin endpoint to ask."""
    asked = ", config_source: {"
    assert asked in ROUTES
    config = ROUTES.replace(asked, f"{asked}initial_fetch_timeout: {timeout}, ")
    scenario = drafted(tmp_path, "routes", config)
    text = scenario.read_text()
    (line,) = (line for line in text.splitlines() if "  control_plane:" in line)
    scenario.write_text(text.replace(line, deadline))
    return run(scenario, probe, VERSIONS[-1])


def test_envoy_that_waits_for_a_server_is_waited_for(tmp_path: Path, probe: Probe) -> None:
    result = waiting(tmp_path, probe, "2s")
    verdict = judged(result)
    assert verdict.status is Status.PASS, not_passed(verdict)
    assert result.plan.deadline_s > 2
    events = result.trace.events
    bound = min(one.ts_ns for one in events if one.call == "bind")
    names = {one.args["tid"]: one.args["name"] for one in events if one.call == "rename"}
    workers = [tid for tid, name in names.items() if name.startswith("wrk:")]
    served = min(one.ts_ns for one in events if one.call == "epoll_wait" and one.tid in workers)
    assert served - bound >= 2_000_000_000  # the timeout: Envoy binds, and then asks
    assert result.trace.end.outcome.live is None


def test_envoy_that_still_waits_at_the_deadline_is_not_live(tmp_path: Path, probe: Probe) -> None:
    result = waiting(tmp_path, probe, "0s", "  deadline: 2s")
    outcome = result.trace.end.outcome
    assert (outcome.running, outcome.live, outcome.deadline_s) == (True, False, 2)
    verdict = judged(result)
    assert verdict.status is Status.FAIL
    assert "Envoy was not live after 2 s" in headline(verdict, "routes", outcome)
