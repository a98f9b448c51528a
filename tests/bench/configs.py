"""The configs and scenarios that are measured."""

from __future__ import annotations

from pathlib import Path

#: What Envoy's admin endpoint is bound to, in the network namespace of each run.
ADMIN_PORT = 9901

_TYPE = "'@type': type.googleapis.com/envoy.extensions.filters"
#: A listener that costs Envoy hardly more than its sockets.
ECHO = f"{{name: envoy.filters.network.echo, typed_config: {{{_TYPE}.network.echo.v3.Echo}}}}"
#: What gateways and sidecars have.
HTTP = (
    "{name: envoy.filters.network.http_connection_manager, typed_config: {"
    f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: http, "
    "route_config: {virtual_hosts: [{name: all, domains: ['*'], "
    "routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}, "
    "http_filters: [{name: envoy.filters.http.router, "
    f"typed_config: {{{_TYPE}.http.router.v3.Router}}}}]}}}}"
)


def config(ports: range, network_filter: str) -> str:
    """Return a bootstrap with a TCP listener on loopback for each port, of one filter each."""
    items = "\n".join(
        f"  - {{name: l{port}, address: {{socket_address: {{address: 127.0.0.1, "
        f"port_value: {port}}}}}, filter_chains: [{{filters: [{network_filter}]}}]}}"
        for port in ports
    )
    admin = f"{{address: {{socket_address: {{address: 127.0.0.1, port_value: {ADMIN_PORT}}}}}}}"
    return f"admin: {admin}\nstatic_resources:\n  listeners:\n{items}\n"


def scenario(name: str, ports: range = range(10000, 10001), workers: int = 2) -> str:
    """Return a scenario of one run, which every state of the project that is compared can read.

    Args:
        name: of the scenario, and of its file.
        ports: a listener that echoes for each; what it did at start-up is expected.
        workers: of Envoy.
    """
    body = "\n".join(f"    {line}" for line in config(ports, ECHO).splitlines())
    expected = "".join(
        f"- listener: {{port: {port}}}\n  bound: {{times: workers, by: main}}\n"
        "  listened: {by: workers, via: reuse_port}\n"
        for port in ports
    )
    return f"""name: {name}
envoy:
  concurrency: {workers}
  config:
{body}
expect:
{expected}- process: {{live: true}}
"""


def write_scenarios(directory: Path, count: int) -> Path:
    """Write so many scenario files and return their directory."""
    directory.mkdir(parents=True)
    for number in range(count):
        name = f"listener_{number}"
        text = scenario(name, range(10000 + number, 10001 + number))
        (directory / f"{name}.yaml").write_text(text, "utf-8")
    return directory
