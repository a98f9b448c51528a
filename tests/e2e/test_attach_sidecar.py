"""A sidecar as Istio starts it: an agent starts Envoy, which gets its inbound listeners by ADS."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest
import yaml

from envoyassert.trace_file import read_trace
from envoyassert.xds.control_plane import AdsControlPlane
from tests.e2e.attaching import LONG, Attaching, envoy_command, running
from tests.e2e.launching import echo_listener

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

SCENARIO = """\
name: sidecar
expect:
  - listener: {port: 15000, address: 127.0.0.1}
    bound: {times: 1, by: main}
    listened: {by: main}
  - listener: {name: l15021}
    bound: {times: workers, by: main}
    listened: {by: workers, via: reuse_port}
    served_by: workers
  - listener: {name: l15090}
    listened: {by: workers, via: reuse_port}
  - listener: {name: l15006}
    bound: {times: 1, by: main}
    listened: {by: workers, via: dup}
    served_by: workers
  - listener: {name: l15001}
    listened: {by: workers, via: reuse_port}
  - no_others: true
  - process: {live: true}
"""
#: As pilot-agent does: Envoy is its child, and it decides about the workers.
AGENT = ["sh", "-c", '"$@" --concurrency 2 & trap "kill $!" TERM; wait', "agent"]


def sidecar(socket: Path) -> str:
    """Return a bootstrap that asks for its further listeners at a Unix socket."""
    to_server = {"pipe": {"path": str(socket)}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": to_server}}]}]
    options = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    ads = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}
    return yaml.safe_dump(
        {
            "node": {"id": "sidecar", "cluster": "shop"},
            "admin": {"address": address},
            "dynamic_resources": {
                "ads_config": ads,
                "lds_config": {"ads": {}, "resource_api_version": "V3"},
            },
            "static_resources": {
                "listeners": [yaml.safe_load(echo_listener(port)) for port in (15090, 15021)],
                "clusters": [
                    {
                        "name": "xds-grpc",
                        "connect_timeout": "5s",
                        "typed_extension_protocol_options": options,
                        "load_assignment": {"cluster_name": "xds-grpc", "endpoints": endpoints},
                    }
                ],
            },
        }
    )


def test_sidecar_of_an_agent_is_shown_as_it_happens_and_judged(tmp_path, run_root):
    socket = run_root.parent / "xds.sock"  # its path is short
    config = sidecar(socket)
    binary, *arguments = envoy_command(tmp_path, config)
    name = tmp_path / f"ea-{secrets.token_hex(4)}"
    name.symlink_to(binary)
    envoy = [str(name), *arguments[: arguments.index("--concurrency")]]
    scenario, trace = tmp_path / "sidecar.yaml", tmp_path / "sidecar.ndjson"
    scenario.write_text(SCENARIO)
    pushed = [
        yaml.safe_load(echo_listener(15006, "enable_reuse_port: false,")),
        yaml.safe_load(echo_listener(15001)),
    ]
    with (
        AdsControlPlane(socket, delta=False, listeners=pushed),
        Attaching(
            "--exe", name.name, "--for", LONG, "--scenario", scenario, "-o", trace
        ) as attached,
        running([*AGENT, *envoy]),
    ):
        done = attached.end()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS sidecar" in done.stdout
    story = done.stdout.partition("\n\n")[0].splitlines()
    steps = [
        r"main +- +- +exec\(",
        r"main .* bind\(\d+, 127\.0\.0\.1:15000\) = 0",
        r"main .* bind\(\d+, 127\.0\.0\.1:15006\) = 0",
        r"main .* dup\(\d+\) = \d+",
        r"main .* listen\(\d+, -1\) = 0",
        r"worker_\d .* epoll_ctl\(\d+, EPOLL_CTL_ADD, ",
    ]
    found = iter(story)
    assert all(any(re.search(step, line) for line in found) for step in steps), done.stdout
    kinds = {one.name: one.kind for one in read_trace(trace).header.listeners}
    assert (kinds["l15021"], kinds["l15006"]) == ("static", "lds")
