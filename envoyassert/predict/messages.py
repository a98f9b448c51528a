"""The messages of a config that decide about sockets: their fields, and since when Envoy has them.

Source: the descriptors in Envoy's programs of 1.36.4, 1.37.0, 1.38.2, 1.39.1 and 1.40.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from envoyassert.frozen import frozen
from envoyassert.predict.plain import INT64, UINT32, base64_text, choice, flag, text, wrapped


@frozen
class Since:
    """A field that not every version of Envoy has.

    Args:
        versions: bounds of those that have it: `>=1.37`.
        shape: what it is.
    """

    versions: str
    shape: Shape = None


#: A message by its fields, a list of such, what reads a plain value; None for anything, and an
#: empty message for any message.
Shape = Mapping[str, "Shape"] | list["Shape"] | Callable[[Any], Any] | Since | None

_SIZE = wrapped(UINT32)


def _any(*fields: str) -> dict[str, Shape]:
    return dict.fromkeys(fields)


ADDRESS: dict[str, Shape] = {
    "socket_address": {
        **dict.fromkeys(("address", "named_port", "resolver_name"), text),
        "network_namespace_filepath": text,
        "port_value": UINT32,
        "protocol": choice("TCP", "UDP"),
        "ipv4_compat": flag,
    },
    "pipe": {"path": text, "mode": UINT32},
    "envoy_internal_address": {},
}
_VERSIONS = ("UNSPECIFIED", "IPV4", "IPV6")
OPTION: dict[str, Shape] = {
    "description": text,
    **dict.fromkeys(("level", "name", "int_value"), INT64),
    "buf_value": base64_text,
    "state": choice("STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING"),
    "type": {"stream": {}, "datagram": {}},
    "ip_version": Since(">=1.38", choice(*(f"SOCKET_IP_VERSION_{one}" for one in _VERSIONS))),
}
_OPTIONS: list[Shape] = [OPTION]
_KEEPALIVE = Since(
    ">=1.37",
    dict.fromkeys(("keepalive_probes", "keepalive_time", "keepalive_interval"), _SIZE),
)
LISTENER: dict[str, Shape] = {
    **_any("fcds_config", "filter_chain_matcher", "use_original_dst", "metadata"),
    **_any("per_connection_buffer_limit_bytes", "drain_type", "listener_filters", "access_log"),
    **_any("listener_filters_timeout", "continue_on_listener_filters_timeout"),
    **_any("traffic_direction", "max_connections_to_accept_per_socket_event"),
    **_any("ignore_global_conn_limit", "bypass_overload_manager"),
    **dict.fromkeys(("name", "stat_prefix"), text),
    "address": ADDRESS,
    "additional_addresses": [
        {
            "address": ADDRESS,
            "socket_options": {"socket_options": _OPTIONS},
            "tcp_keepalive": _KEEPALIVE,
        }
    ],
    "socket_options": _OPTIONS,
    "tcp_keepalive": _KEEPALIVE,
    **dict.fromkeys(("tcp_backlog_size", "tcp_fast_open_queue_length"), _SIZE),
    **dict.fromkeys(
        ("bind_to_port", "enable_reuse_port", "freebind", "transparent"), wrapped(flag)
    ),
    **dict.fromkeys(("reuse_port", "enable_mptcp"), flag),
    "deprecated_v1": {"bind_to_port": wrapped(flag)},
    "connection_balance_config": {
        **_any("extend_balance"),
        "exact_balance": {},
        "cpu_locality_balance": Since(">=1.39", {}),
    },
    "filter_chains": [{}],
    "default_filter_chain": {},
    "api_listener": {},
    "internal_listener": {},
    "udp_listener_config": {
        **_any("downstream_socket_config", "udp_packet_packet_writer_config"),
        "quic_options": {},
    },
    "per_connection_buffer_high_watermark_timeout": Since(">=1.38"),
    "stats_matcher": Since(">=1.40"),
}
_NODE: dict[str, Shape] = {
    **_any("metadata", "dynamic_parameters", "user_agent_build_version", "extensions"),
    **_any("client_features", "listening_addresses"),
    **dict.fromkeys(("id", "cluster", "user_agent_name", "user_agent_version"), text),
    "locality": dict.fromkeys(("region", "zone", "sub_zone"), text),
}
BOOTSTRAP: dict[str, Shape] = {
    **_any("node_context_params", "cluster_manager", "hds_config", "stats_sinks"),
    **_any("deferred_stat_options", "stats_config", "stats_flush_interval", "tracing"),
    **_any("stats_flush_on_admin", "stats_eviction_interval", "watchdog", "watchdogs"),
    **_any("overload_manager", "enable_dispatcher_stats", "fatal_actions"),
    **_any("stats_server_version_override", "use_tcp_for_dns_lookups", "dns_resolution_config"),
    **_any("typed_dns_resolver_config", "config_sources", "default_config_source"),
    **_any("certificate_provider_instances", "inline_headers"),
    **_any("default_regex_engine", "xds_delegate_extension"),
    **_any("xds_config_tracker_extension", "listener_manager", "application_log_config"),
    **_any("grpc_async_client_manager_config", "memory_allocator_manager"),
    **dict.fromkeys(("flags_path", "header_prefix", "default_socket_interface"), text),
    "perf_tracing_file_path": text,
    "node": _NODE,
    "static_resources": {**_any("clusters", "secrets"), "listeners": [LISTENER]},
    "dynamic_resources": {
        **_any("lds_resources_locator", "cds_config", "cds_resources_locator", "ads_config"),
        "lds_config": {},
    },
    "admin": {
        **_any("access_log", "ignore_global_conn_limit"),
        **dict.fromkeys(("access_log_path", "profile_path"), text),
        "address": ADDRESS,
        "socket_options": _OPTIONS,
        "allow_paths": Since(">=1.37"),
    },
    "bootstrap_extensions": [{"name": text, "typed_config": {}}],
    "layered_runtime": {
        "layers": [
            {**_any("disk_layer", "admin_layer", "rtds_layer"), "name": text, "static_layer": {}}
        ]
    },
    "enable_worker_cpu_affinity": Since(">=1.39", flag),
}
#: Of these, an address and an option have one each.
ONE_OF = (*ADDRESS, "int_value", "buf_value")
