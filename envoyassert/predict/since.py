"""Fields that decide about sockets and that not every supported version of Envoy knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoyassert.scenario.listeners import items_of, proto_field

_KEEPALIVE = ">=1.37"
_LOCALITY = ">=1.39"


def requires_of(config: Any, listeners: Iterable[Any]) -> str:
    """Return bounds of the versions of Envoy that know all fields of a config, or "".

    Envoy refuses a config with a field that it does not know.

    Args:
        config: the bootstrap.
        listeners: all of its listeners, and those of its control plane.
    """
    needed = {bounds for one in listeners for bounds in _of_listener(one)}
    if proto_field(config, "enable_worker_cpu_affinity") is not None:
        needed.add(_LOCALITY)
    return max(needed, default="")


def names_keepalive(listener: Any) -> bool:
    """Return whether a listener has the field for keepalive, which Envoy knows since 1.37."""
    more = items_of(proto_field(listener, "additional_addresses"))
    return any(proto_field(entry, "tcp_keepalive") is not None for entry in (listener, *more))


def _of_listener(listener: Any) -> Iterable[str]:
    if names_keepalive(listener):
        yield _KEEPALIVE
    balance = proto_field(listener, "connection_balance_config")
    if proto_field(balance, "cpu_locality_balance") is not None:
        yield _LOCALITY
