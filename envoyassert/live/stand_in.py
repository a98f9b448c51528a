"""A config instead of one that is not at hand: it has the listeners of a trace."""

from __future__ import annotations

from typing import Any

from envoyassert.addresses import Address
from envoyassert.trace import Header, ListenerRecord


def config_of_trace(header: Header) -> dict[str, Any]:
    """Return a bootstrap with the names and addresses of a trace's listeners, and nothing else.

    By it a scenario without a config of its own may name them.
    """
    admin = next((one for one in header.listeners if one.kind == "admin"), None)
    listeners = [_listener(one) for one in header.listeners if one.kind != "admin"]
    config: dict[str, Any] = {"static_resources": {"listeners": listeners}}
    if admin is not None and admin.addresses:
        config["admin"] = {"address": _address(admin.addresses[0], admin.protocol)}
    return config


def _listener(record: ListenerRecord) -> dict[str, Any]:
    if not record.addresses:
        return {"name": record.name, "internal_listener": {}}
    first, *more = (_address(one, record.protocol) for one in record.addresses)
    found: dict[str, Any] = {"name": record.name, "address": first}
    if more:
        found["additional_addresses"] = [{"address": one} for one in more]
    return found


def _address(address: Address, protocol: str) -> dict[str, Any]:
    if not address.is_ip:
        return {"pipe": {"path": address.path or f"@{address.abstract}"}}
    place: dict[str, Any] = {"address": address.host, "port_value": address.port}
    if protocol == "UDP":
        place["protocol"] = "UDP"
    if address.netns:
        place["network_namespace_filepath"] = address.netns
    return {"socket_address": place}
