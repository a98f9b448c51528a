"""A bootstrap that has the same sockets as an Envoy whose own config cannot start here.

The config of a running sidecar refers to clusters, secrets and extensions of its control plane.
None of them decides about a socket, so they are left out: each listener keeps what does, and
answers with what it is told.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

from envoyassert.addresses import Address
from envoyassert.draft.expected import Draft, DraftError, DraftOption, SocketSet
from envoyassert.names import LEVELS, OPTIONS
from envoyassert.option_values import NAMED_VALUES
from envoyassert.scenario.listeners import (
    address_of,
    asks_for_sockets,
    items_of,
    proto_field,
    protocol_of,
)

#: Fields of a listener that decide about its sockets.
_KEPT = (
    "name",
    "address",
    "additional_addresses",
    "enable_reuse_port",
    "reuse_port",
    "enable_mptcp",
    "freebind",
    "transparent",
    "socket_options",
    "tcp_backlog_size",
    "tcp_fast_open_queue_length",
    "tcp_keepalive",
    "traffic_direction",
)
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
_STATES = {"before_bind": "STATE_PREBIND", "bound": "STATE_BOUND", "listening": "STATE_LISTENING"}
# Options that follow from other fields, and that Envoy sets by itself.
_IMPLIED = {"SO_REUSEADDR", "SO_REUSEPORT", "IPV6_V6ONLY"}
_IMPLIED_BY_UDP = _IMPLIED | {
    *("IP_MTU_DISCOVER", "IPV6_MTU_DISCOVER", "IP_PKTINFO", "IPV6_RECVPKTINFO"),
    *("SO_RXQ_OVFL", "UDP_GRO"),
}
_OF_QUIC = {"SO_ATTACH_REUSEPORT_CBPF", "IP_RECVTOS", "IPV6_RECVTCLASS"}


def is_config_dump(data: Any) -> bool:
    """Return whether this is the answer of the admin endpoint's /config_dump."""
    return isinstance(data, dict) and isinstance(data.get("configs"), list)


def bootstrap_of_dump(dump: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a bootstrap with the sockets of a dumped config, and notes on what it leaves out.

    Args:
        dump: the answer of /config_dump, static and dynamic listeners included.

    Raises:
        DraftError: it holds no listeners.
    """
    parts = {str(part.get("@type", "")).rpartition(".")[2]: part for part in _parts(dump)}
    bootstrap = proto_field(parts.get("BootstrapConfigDump"), "bootstrap")
    section = parts.get("ListenersConfigDump")
    listeners = [*_dumped(section)] if section is not None else []
    if section is None:
        static = proto_field(bootstrap, "static_resources")
        listeners = items_of(proto_field(static, "listeners"))
    kept, notes = _stood_in(listeners, "listener with a socket of its own")
    result = _bootstrap(kept)
    admin = proto_field(bootstrap, "admin")
    if proto_field(admin, "address") is not None:
        options = proto_field(admin, "socket_options")
        more = {"socket_options": options} if options else {}
        result = {"admin": {"address": proto_field(admin, "address"), **more}, **result}
    return result, notes


def served_by_dump(dump: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return stand-ins of the listeners that a control plane gave to a dumped Envoy, and notes.

    Args:
        dump: the answer of /config_dump, dynamic listeners included.

    Raises:
        DraftError: it holds none.
    """
    sections = (part for part in _parts(dump) if "dynamic_listeners" in part)
    served = [listener for section in sections for listener in _dynamic(section)]
    return _stood_in(served, "listener from a control plane")


def _stood_in(
    listeners: list[dict[str, Any]], wanted: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return stand-ins of listeners, and notes on what is left out."""
    kept, left_out, virtual = [], [], 0
    for listener in listeners:
        place = proto_field(listener, "address")
        address = address_of(place)
        if not asks_for_sockets(listener) or address is None:
            virtual += 1
        elif proto_field(proto_field(listener, "udp_listener_config"), "quic_options") is not None:
            left_out.append(str(proto_field(listener, "name") or address))
        else:
            kept.append(_stand_in(listener, is_udp=protocol_of(address, place) == "UDP"))
    if not kept:
        raise DraftError(
            f"the dump has no {wanted}, but for QUIC",
            "ask for all of it: curl 127.0.0.1:15000/config_dump (15000 is Istio's admin port)",
        )
    notes = ["filters, clusters and secrets are left out: no socket depends on them"]
    if virtual:
        notes.append(f"{virtual} listeners without a socket of their own are left out")
    if left_out:
        notes.append(f"not covered, QUIC cannot be stood in for: {', '.join(left_out)}")
    return kept, notes


def bootstrap_of_draft(draft: Draft) -> dict[str, Any]:
    """Return a bootstrap that has the sockets of a draft, as one made from a trace.

    Raises:
        DraftError: a socket is one of QUIC: the certificate for it is not in a trace.
    """
    admin, listeners = None, []
    for number, one in enumerate(draft.sets):
        if any(option.name in _OF_QUIC for option in one.options):
            raise DraftError(
                f"{one.address} serves QUIC, which needs a certificate that no trace has",
                "name the config that was run: --config FILE",
            )
        if one.role == "main":
            admin = {"address": _place(one)}
            continue
        listener: dict[str, Any] = {
            "name": one.name if one.name != str(one.address) else f"listener_{number}",
            "address": _place(one),
            "enable_reuse_port": one.via == "reuse_port",
            **_filters(is_udp=one.protocol == "UDP"),
        }
        if one.listens == 0:
            listener["bind_to_port"] = False  # Envoy binds a Unix socket all the same
        if one.backlog not in (None, -1):
            listener["tcp_backlog_size"] = one.backlog
        if one.protocol == "MPTCP":
            listener["enable_mptcp"] = True
        implied = _IMPLIED_BY_UDP if one.protocol == "UDP" else _IMPLIED
        options = [_literal(o) for o in one.options if o.name not in implied]
        if options:
            listener["socket_options"] = options
        listeners.append(listener)
    bootstrap = _bootstrap(listeners)
    return {"admin": admin, **bootstrap} if admin else bootstrap


def _parts(dump: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in dump["configs"]:
        if isinstance(part, dict):
            yield part


def _dumped(section: Any) -> Iterator[dict[str, Any]]:
    for entry in items_of(proto_field(section, "static_listeners")):
        yield proto_field(entry, "listener") or {}
    yield from _dynamic(section)


def _dynamic(section: Any) -> Iterator[dict[str, Any]]:
    for entry in items_of(proto_field(section, "dynamic_listeners")):
        # One that is warming has bound its sockets; one that drains is on its way out.
        state = proto_field(entry, "active_state") or proto_field(entry, "warming_state")
        listener = proto_field(state, "listener")
        if listener is not None:
            yield listener


def _stand_in(listener: dict[str, Any], *, is_udp: bool) -> dict[str, Any]:
    kept = {field: proto_field(listener, field) for field in _KEPT}
    stand_in = {field: value for field, value in kept.items() if value is not None}
    return {**stand_in, **_filters(is_udp=is_udp)}


def _filters(*, is_udp: bool) -> dict[str, Any]:
    """Return what a listener serves by: TCP echoes, datagrams go to a cluster without members."""
    if is_udp:
        return {"listener_filters": [_TO_NOWHERE]}
    return {"filter_chains": [{"filters": [_ECHO]}]}


def _bootstrap(listeners: list[dict[str, Any]]) -> dict[str, Any]:
    static: dict[str, Any] = {"listeners": listeners}
    if any("listener_filters" in listener for listener in listeners):
        static["clusters"] = [_CLUSTER]
    return {"static_resources": static}


def _place(one: SocketSet) -> dict[str, Any]:
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


def _literal(option: DraftOption) -> dict[str, Any]:
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
