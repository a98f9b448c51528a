"""A bootstrap that has the same sockets as an Envoy whose own config cannot start here.

The config of a running Envoy refers to clusters, secrets and extensions of its control plane. None
of them decides about a socket, so they are left out: each listener keeps what does. A TCP listener
echoes, datagrams go to a cluster without members, and QUIC, which does not start without a
certificate, is served with a made one.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from envoyassert.addresses import Address
from envoyassert.draft.expected import Draft
from envoyassert.names import LEVELS, OPTIONS
from envoyassert.option_values import NAMED_VALUES
from envoyassert.predict.sockets import SocketOption, SocketSet
from envoyassert.scenario.absent import CERTIFICATE, KEY

_ECHO = {
    "name": "envoy.filters.network.echo",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo",
    },
}
_CLUSTER = {"name": "nowhere", "connect_timeout": "1s", "type": "STATIC"}
_TO_NOWHERE = {
    "name": "envoy.filters.udp_listener.udp_proxy",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
        "stat_prefix": "nowhere",
        "matcher": {
            "on_no_match": {
                "action": {
                    "name": "route",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.filters.udp.udp_proxy.v3.Route",
                        "cluster": _CLUSTER["name"],
                    },
                }
            }
        },
    },
}
_EXTENSION = "type.googleapis.com/envoy.extensions"
_HTTP3 = {
    "transport_socket": {
        "name": "envoy.transport_sockets.quic",
        "typed_config": {
            "@type": f"{_EXTENSION}.transport_sockets.quic.v3.QuicDownstreamTransport",
            "downstream_tls_context": {
                "common_tls_context": {
                    "tls_certificates": [
                        {
                            "certificate_chain": {"inline_string": CERTIFICATE},
                            "private_key": {"inline_string": KEY},
                        }
                    ]
                }
            },
        },
    },
    "filters": [
        {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": f"{_EXTENSION}.filters.network.http_connection_manager.v3."
                "HttpConnectionManager",
                "codec_type": "HTTP3",
                "stat_prefix": "http3",
                "route_config": {},
                "http_filters": [
                    {
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": f"{_EXTENSION}.filters.http.router.v3.Router"},
                    }
                ],
            },
        }
    ],
}
_STATES = {"before_bind": "STATE_PREBIND", "bound": "STATE_BOUND", "listening": "STATE_LISTENING"}
# Options that follow from other fields, and that Envoy sets by itself.
_IMPLIED = {"SO_REUSEADDR", "SO_REUSEPORT", "IPV6_V6ONLY"}
_IMPLIED_BY_UDP = _IMPLIED | {
    *("IP_MTU_DISCOVER", "IPV6_MTU_DISCOVER", "IP_PKTINFO", "IPV6_RECVPKTINFO"),
    *("SO_RXQ_OVFL", "UDP_GRO"),
}
_BETWEEN_WORKERS = "SO_ATTACH_REUSEPORT_CBPF"
_OF_QUIC = {_BETWEEN_WORKERS, "IP_RECVTOS", "IPV6_RECVTCLASS"}
_IMPLIED_BY = {"UDP": _IMPLIED_BY_UDP, "QUIC": _IMPLIED_BY_UDP | _OF_QUIC}


def serving(protocol: str) -> dict[str, object]:
    """Return what a listener serves by: TCP echoes, datagrams go to a cluster without members.

    Args:
        protocol: `TCP`, `MPTCP`, `UNIX`, `UDP` or `QUIC`.
    """
    if protocol == "UDP":
        return {"listener_filters": [_TO_NOWHERE]}
    if protocol == "QUIC":
        return {"udp_listener_config": {"quic_options": {}}, "filter_chains": [_HTTP3]}
    return {"filter_chains": [{"filters": [_ECHO]}]}


def stand_in_note(listeners: Mapping[str, Sequence[str]]) -> str:
    """Return what the stand-ins do, in words.

    Args:
        listeners: their names, by protocol as `serving` takes it.
    """
    said = []
    if not {"TCP", "MPTCP", "UNIX"}.isdisjoint(listeners):
        said.append("connections are echoed")
    if "UDP" in listeners:
        said.append("datagrams go to a cluster without members")
    if "QUIC" in listeners:
        said.append(f"QUIC has a made certificate ({', '.join(listeners['QUIC'])})")
    return f"stand-ins: {', '.join(said)}"


def bootstrap_with(listeners: list[dict[str, object]], admin: object = None) -> dict[str, object]:
    """Return a bootstrap of stand-ins and of an admin endpoint, if there is one."""
    static: dict[str, object] = {"listeners": listeners}
    if any("listener_filters" in listener for listener in listeners):
        static["clusters"] = [_CLUSTER]
    return {**({"admin": admin} if admin else {}), "static_resources": static}


def bootstrap_of_draft(draft: Draft) -> tuple[dict[str, object], list[str]]:
    """Return a bootstrap that has the sockets of a draft, as one made from a trace, and notes."""
    admin, listeners = None, []
    by_protocol: dict[str, list[str]] = {}
    for number, one in enumerate(draft.sets):
        if one.role == "main":
            admin = {"address": _place(one)}
            continue
        protocol = _serves(one)
        by_protocol.setdefault(protocol, []).append(one.name)
        listener: dict[str, Any] = {
            "name": one.name if one.name != str(one.address) else f"listener_{number}",
            "address": _place(one),
            "enable_reuse_port": one.via == "reuse_port",
            **serving(protocol),
        }
        if one.listens == 0:
            listener["bind_to_port"] = False  # Envoy binds a Unix socket anyway
        if one.backlog not in (None, -1):
            listener["tcp_backlog_size"] = one.backlog
        if one.protocol == "MPTCP":
            listener["enable_mptcp"] = True
        implied = _IMPLIED_BY.get(protocol, _IMPLIED)
        options = [_literal(o) for o in one.options if o.name not in implied]
        if options:
            listener["socket_options"] = options
        listeners.append(listener)
    notes = [stand_in_note(by_protocol)] if "QUIC" in by_protocol else []
    return bootstrap_with(listeners, admin), notes


def _serves(one: SocketSet) -> str:
    names = {option.name for option in one.options if option.phase == "bound"}
    # Several workers have a filter between them; one has not, and only asks for the ECN bits.
    quic = _BETWEEN_WORKERS in names or (one.sockets == 1 and not names.isdisjoint(_OF_QUIC))
    return "QUIC" if quic else one.protocol


def _place(one: SocketSet) -> dict[str, object]:
    address: Address = one.address
    if not address.is_ip:
        return {"pipe": {"path": address.path or f"@{address.abstract}"}}
    place: dict[str, Any] = {"address": address.host, "port_value": address.port}
    if one.protocol == "UDP":
        place["protocol"] = "UDP"
    if address.netns:
        place["network_namespace_filepath"] = address.netns
    if any(o.name == "IPV6_V6ONLY" and o.value == 0 for o in one.options):
        place["ipv4_compat"] = True
    return {"socket_address": place}


def _literal(option: SocketOption) -> dict[str, object]:
    levels = {name: number for number, name in LEVELS.items()}
    level = option.level if isinstance(option.level, int) else levels[option.level]
    known = OPTIONS.get(str(option.level), {})
    numbers = {name: number for number, name in known.items()}
    name = option.name if isinstance(option.name, int) else numbers[option.name]
    if isinstance(option.value, int):
        value: dict[str, Any] = {"int_value": option.value}
    elif isinstance(option.value, dict):
        content = struct.pack("=2i", *(int(part or 0) for part in option.value.values()))
        value = {"buf_value": base64.b64encode(content).decode()}
    else:
        text = option.value or ""
        content = text.encode() if option.name in NAMED_VALUES else bytes.fromhex(text)
        value = {"buf_value": base64.b64encode(content).decode()}
    return {"level": level, "name": name, **value, "state": _STATES[option.phase]}
