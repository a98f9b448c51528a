"""The messages of Envoy's config that an untrusted scenario may use, from Envoy's own schema.

`python -m tests.unit.harmless_messages` writes them again. Listed here are the extensions that
neither load nor execute anything, and the fields that are left out because they do, or because they
write, read or reach what no check looks at. Look through what is new before you write them again. A
message that none of them leads to, and a field that Envoy has had since, is refused until it is
listed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from envoyassert.scenario.harmless import FILE, HEAD

_EXTENSIONS = "envoy.extensions."
#: Where the schema is entered: files that Envoy reads, resources that it is served, extensions.
ROOTS = (
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.core.v3.TypedExtensionConfig",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.ScopedRouteConfiguration",
    "envoy.config.route.v3.VirtualHost",
    "envoy.service.discovery.v3.DiscoveryResponse",
    *(
        f"{_EXTENSIONS}{name}"
        for name in (
            "access_loggers.file.v3.FileAccessLog",
            "access_loggers.stream.v3.StderrAccessLog",
            "access_loggers.stream.v3.StdoutAccessLog",
            "bootstrap.internal_listener.v3.InternalListener",
            "filters.http.buffer.v3.Buffer",
            "filters.http.cors.v3.Cors",
            "filters.http.cors.v3.CorsPolicy",
            "filters.http.fault.v3.HTTPFault",
            "filters.http.grpc_stats.v3.FilterConfig",
            "filters.http.grpc_web.v3.GrpcWeb",
            "filters.http.header_mutation.v3.HeaderMutation",
            "filters.http.header_to_metadata.v3.Config",
            "filters.http.health_check.v3.HealthCheck",
            "filters.http.local_ratelimit.v3.LocalRateLimit",
            "filters.http.rbac.v3.RBAC",
            "filters.http.rbac.v3.RBACPerRoute",
            "filters.http.router.v3.Router",
            "filters.http.set_metadata.v3.Config",
            "filters.listener.http_inspector.v3.HttpInspector",
            "filters.listener.local_ratelimit.v3.LocalRateLimit",
            "filters.listener.original_dst.v3.OriginalDst",
            "filters.listener.original_src.v3.OriginalSrc",
            "filters.listener.proxy_protocol.v3.ProxyProtocol",
            "filters.listener.tls_inspector.v3.TlsInspector",
            "filters.network.connection_limit.v3.ConnectionLimit",
            "filters.network.direct_response.v3.Config",
            "filters.network.echo.v3.Echo",
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "filters.network.local_ratelimit.v3.LocalRateLimit",
            "filters.network.rbac.v3.RBAC",
            "filters.network.sni_cluster.v3.SniCluster",
            "filters.network.tcp_proxy.v3.TcpProxy",
            "filters.udp.dns_filter.v3.DnsFilterConfig",
            "filters.udp.udp_proxy.v3.Route",
            "filters.udp.udp_proxy.v3.UdpProxyConfig",
            "load_balancing_policies.cluster_provided.v3.ClusterProvided",
            "load_balancing_policies.least_request.v3.LeastRequest",
            "load_balancing_policies.maglev.v3.Maglev",
            "load_balancing_policies.random.v3.Random",
            "load_balancing_policies.ring_hash.v3.RingHash",
            "load_balancing_policies.round_robin.v3.RoundRobin",
            "network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "request_id.uuid.v3.UuidRequestIdConfig",
            "resource_monitors.cpu_utilization.v3.CpuUtilizationConfig",
            "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "resource_monitors.fixed_heap.v3.FixedHeapConfig",
            "resource_monitors.injected_resource.v3.InjectedResourceConfig",
            "retry.host.previous_hosts.v3.PreviousHostsPredicate",
            "transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
            "transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            "transport_sockets.quic.v3.QuicDownstreamTransport",
            "transport_sockets.quic.v3.QuicUpstreamTransport",
            "transport_sockets.raw_buffer.v3.RawBuffer",
            "transport_sockets.tls.v3.DownstreamTlsContext",
            "transport_sockets.tls.v3.Secret",
            "transport_sockets.tls.v3.UpstreamTlsContext",
            "udp_packet_writer.v3.UdpDefaultWriterFactory",
            "udp_packet_writer.v3.UdpGsoBatchWriterFactory",
            "upstreams.http.v3.HttpProtocolOptions",
            "upstreams.tcp.v3.TcpProtocolOptions",
        )
    ),
)
#: Fields that are left out, by what they would do.
LEFT_OUT = frozenset(
    {
        # Ask a server, which decides what Envoy loads; `ads_config` stays without one.
        "envoy.config.core.v3.ConfigSource.api_config_source",
        "envoy.config.core.v3.ConfigSource.authorities",
        "envoy.config.core.v3.ApiConfigSource.cluster_names",
        "envoy.config.core.v3.ApiConfigSource.grpc_services",
        "envoy.config.bootstrap.v3.Bootstrap.config_sources",
        "envoy.config.bootstrap.v3.Bootstrap.hds_config",
        # Name config by an address that may be a file's (`file:///…`).
        "envoy.config.bootstrap.v3.Bootstrap.DynamicResources.cds_resources_locator",
        "envoy.config.bootstrap.v3.Bootstrap.DynamicResources.lds_resources_locator",
        "envoy.config.endpoint.v3.LocalityLbEndpoints.leds_cluster_locality_config",
        f"{_EXTENSIONS}filters.network.http_connection_manager.v3.ScopedRds.srds_resources_locator",
        f"{_EXTENSIONS}filters.network.tcp_proxy.v3.TcpProxy.OnDemand.resources_locator",
        # A client of its own: files, plug-ins, Unix sockets, the environment.
        "envoy.config.core.v3.GrpcService.google_grpc",
        # Read whole directories, or change Envoy's own switches while it runs.
        "envoy.config.bootstrap.v3.Bootstrap.flags_path",
        "envoy.config.bootstrap.v3.RuntimeLayer.admin_layer",
        "envoy.config.bootstrap.v3.RuntimeLayer.disk_layer",
        "envoy.config.bootstrap.v3.RuntimeLayer.rtds_layer",
        # Write to files by other means than the paths that are looked at.
        "envoy.config.bootstrap.v3.Bootstrap.perf_tracing_file_path",
        # Named, not typed: whichever implementation Envoy has by that name.
        "envoy.config.bootstrap.v3.Bootstrap.default_socket_interface",
        "envoy.config.core.v3.SocketAddress.resolver_name",
        "envoy.extensions.transport_sockets.tls.v3.TlsCertificate.private_key_provider",
    }
)

#: Fields that Envoy has and the installed schema does not: of Envoy 1.37 to 1.40.
LATER = {
    "envoy.config.bootstrap.v3.Bootstrap": ("enable_worker_cpu_affinity",),
    "envoy.config.listener.v3.Listener": ("tcp_keepalive=envoy.config.core.v3.TcpKeepalive",),
    "envoy.config.listener.v3.Listener.ConnectionBalanceConfig": (
        "cpu_locality_balance=google.protobuf.Empty",
    ),
}

_FREE = {f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue")}
_PLAIN = {
    f"google.protobuf.{name}"
    for name in (
        *("BoolValue", "BytesValue", "DoubleValue", "FloatValue", "Int32Value", "Int64Value"),
        *("StringValue", "UInt32Value", "UInt64Value", "Duration", "Timestamp", "FieldMask"),
    )
}
_ANY, _EMPTY = "google.protobuf.Any", "google.protobuf.Empty"


@cache
def pool() -> Any:
    """Return the messages of Envoy's schema, all of them loaded."""
    from google.protobuf import descriptor_pool

    for name in ("envoy", "udpa", "xds"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name.endswith("_pb2"):
                importlib.import_module(module.name)
    return descriptor_pool.Default()


def lines() -> Iterator[str]:
    """Yield a line for each message: its name, and its fields with what is in them."""
    found: dict[str, str] = {}
    for name in (*ROOTS, _EMPTY):
        _add(pool().FindMessageTypeByName(name), found)
    yield from HEAD
    for name in sorted(found):
        yield f"{name}: {found[name]}".rstrip()


def _add(message: Any, found: dict[str, str]) -> None:
    if message.full_name in found:
        return
    found[message.full_name] = ""
    words = set(LATER.get(message.full_name, ()))
    for field in message.fields:
        if f"{message.full_name}.{field.name}" in LEFT_OUT:
            continue
        word = _word(field.message_type, found)
        if word is not None:
            words.add(field.name + word)
    found[message.full_name] = " ".join(sorted(words))


def _word(message: Any, found: dict[str, str]) -> str | None:
    """Return what stands behind a field's name for what is in it; None for a field left out."""
    if message is None or message.full_name in _PLAIN:
        return ""
    if message.GetOptions().map_entry:
        inner = _word(message.fields_by_name["value"].message_type, found)
        return None if inner is None else "*" + inner
    if message.full_name in _FREE:
        return "?"
    if message.full_name == _ANY:
        return "@"
    if message.full_name.startswith("google.") and message.full_name != _EMPTY:
        return None
    _add(message, found)
    return f"={message.full_name}"


def write(given: Iterable[str]) -> None:
    """Write the file of the package."""
    FILE.write_text("".join(f"{line}\n" for line in given), encoding="utf-8")


if __name__ == "__main__":
    write(lines())
