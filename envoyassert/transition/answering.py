"""Listeners that answer each client by themselves, and differ from each other as those before.

Filters decide nothing about sockets, and need clusters, secrets and servers that are not here. So
those of a listener are replaced: a connection is echoed, a datagram is answered by a table of names
(TCP, UDP), QUIC by the versions that it speaks. What is replaced stays in the listener as a digest:
one that changes its filter chains alone still changes these alone, which Envoy updates in place. So
is `bypass_overload_manager`: clients wait in queues by an overload manager that is heeded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from envoyassert.draft.stand_in import serving
from envoyassert.predict.overload import BYPASS
from envoyassert.scenario.listeners import (
    address_of,
    items_of,
    proto_field,
    proto_name,
    protocol_of,
)

_ECHO = "envoy.extensions.filters.network.echo.v3.Echo"
_DNS = "type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig"
_NAMES = {
    "name": "envoy.filters.udp.dns_filter",
    "typed_config": {
        "@type": _DNS,
        "stat_prefix": "answering",
        "server_config": {
            "inline_dns_table": {
                "virtual_domains": [
                    {"name": "a.test", "endpoint": {"address_list": {"address": ["192.0.2.1"]}}}
                ]
            }
        },
    },
}
#: What clients send, by the protocol of a listener. RFC 1035, 4.1: a question for the address of
#: a.test. RFC 9000, 17.2.1 and 6.1: a long header of 1,200 bytes, its version not one that exists
#: (0xa91a2a3a, after a first byte of 0xc3), is answered with the versions that the server speaks.
SENT = {
    "TCP": "hello",
    "UNIX": "hello",
    "UDP": "\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01",
    "QUIC": "é\x1a\x2a\x3a\x08client-1\x08client-1".ljust(1199, "\0"),
}
#: Fields of a listener that are replaced in the chains, by which Envoy updates it in place, and
#: others.
_CHAINS = ("filter_chains", "default_filter_chain", "filter_chain_matcher")
_OTHERS = ("access_log", "listener_filters", BYPASS)


def answering(listener: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a listener with the same sockets that answers by itself.

    Args:
        listener: as Envoy reads it.
        name: its name.
    """
    kept = {
        key: value
        for key, value in listener.items()
        if proto_name(key) not in (*_CHAINS, *_OTHERS, "@type", "metadata")
    }
    protocol = protocol_at(listener)
    if not protocol or proto_field(listener, "api_listener") is not None:
        return {**listener, "name": name}
    others = _given(listener, _OTHERS)
    if protocol not in ("UDP", "QUIC") and _only_echoes(listener):
        kept.update({key: value for key, value in listener.items() if proto_name(key) in _CHAINS})
    elif protocol == "UDP":
        others = {**others, **_given(listener, _CHAINS)}
        kept["listener_filters"] = [_NAMES]
    else:
        served: Any = serving("QUIC" if protocol == "QUIC" else "TCP")
        chains = served["filter_chains"]
        kept["filter_chains"] = [{**chains[0], "name": _digest(_given(listener, _CHAINS))}]
    metadata = proto_field(listener, "metadata") or {}
    if others:
        filters = {
            **(proto_field(metadata, "filter_metadata") or {}),
            "envoyassert": {"replaced": _digest(others)},
        }
        metadata = {**metadata, "filter_metadata": filters}
    return {**kept, "name": name, **({"metadata": metadata} if metadata else {})}


def protocol_at(listener: object) -> str:
    """Return `TCP`, `UNIX`, `UDP` or `QUIC`, by the first address; "" if it has none."""
    place = proto_field(listener, "address")
    address = address_of(place)
    if address is None:
        return ""
    protocol = protocol_of(address, place)
    udp = proto_field(listener, "udp_listener_config")
    is_quic = protocol == "UDP" and proto_field(udp, "quic_options") is not None
    return "QUIC" if is_quic else protocol


def _given(listener: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    found = {field: proto_field(listener, field) for field in fields}
    return {field: value for field, value in found.items() if value}


def _only_echoes(listener: object) -> bool:
    """Whether any client is echoed already, so that nothing needs to be replaced."""
    chains = items_of(proto_field(listener, "filter_chains"))
    if proto_field(listener, "default_filter_chain") is not None or len(chains) != 1:
        return False
    (chain,) = chains
    filters = items_of(proto_field(chain, "filters"))
    chosen = any(proto_field(chain, it) for it in ("transport_socket", "filter_chain_match"))
    kinds = [str(proto_field(proto_field(one, "typed_config"), "@type")) for one in filters]
    return not chosen and len(kinds) == 1 and kinds[0].endswith(_ECHO)


def _digest(part: object) -> str:
    text = json.dumps(part, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
