"""What of Envoy's config decides about its sockets: a trace has it, to be held against later.

Nothing else of a config goes into a trace: it may hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from envoyassert.predict.messages import BOOTSTRAP, LISTENER, Shape
from envoyassert.predict.shape import fields_apart
from envoyassert.scenario.listeners import (
    discovered_listeners,
    discovers_listeners,
    items_of,
    lds_file,
    proto_field,
)

if TYPE_CHECKING:
    from envoyassert.predict.prediction import Prediction

#: Fields of a listener that say what its sockets are.
OF_LISTENER = (
    *("name", "address", "additional_addresses", "bind_to_port", "enable_reuse_port"),
    *("reuse_port", "enable_mptcp", "freebind", "transparent", "socket_options"),
    *("tcp_backlog_size", "tcp_fast_open_queue_length", "tcp_keepalive", "traffic_direction"),
)
#: Fields of a listener of which it matters that they are there, or one of their members.
_PRESENT = (
    *(("api_listener",), ("internal_listener",), ("udp_listener_config", "quic_options")),
    ("connection_balance_config", "cpu_locality_balance"),
)
_OF_ADMIN = ("address", "socket_options")


def deciding_config(config: object, discovered: Iterable[object] | None) -> dict[str, Any]:
    """Return what of a config decides about sockets, as `prediction_of` takes it.

    Args:
        config: the bootstrap as Envoy got it.
        discovered: listeners from files and from a control plane at the start; None if unknown.
    """
    static = items_of(proto_field(proto_field(config, "static_resources"), "listeners"))
    bootstrap: dict[str, Any] = {"static_resources": {"listeners": [*map(_listener, static)]}}
    bootstrap |= _apart(config, BOOTSTRAP)
    given = proto_field(config, "admin")
    admin = {**_apart(given, BOOTSTRAP["admin"]), **_kept(given, _OF_ADMIN)}
    if admin:
        bootstrap["admin"] = admin
    if discovers_listeners(config):
        path = lds_file(config)
        # Envoy takes none without a slash; any other is no matter of the model.
        source = {} if path is None or "/" in path else {"path": path}
        bootstrap["dynamic_resources"] = {"lds_config": source}
    known = [name for name in (INTERNAL, REVERSE_TUNNEL) if has_extension(config, name)]
    if known:
        bootstrap["bootstrap_extensions"] = [{"name": f"envoy.bootstrap.{one}"} for one in known]
    affinity = proto_field(config, "enable_worker_cpu_affinity")
    if affinity is not None:
        bootstrap["enable_worker_cpu_affinity"] = affinity
    theirs = None if discovered is None else [*map(_listener, discovered)]
    return {"bootstrap": bootstrap, "discovered": theirs}


def discovered_at_start(config: object, files: Mapping[str, object]) -> list[Any] | None:
    """Return the listeners that Envoy finds beside its bootstrap; None if they are not known.

    Args:
        config: the bootstrap.
        files: files of its run directory by name; those with listeners answer its `lds_config`.
    """
    found = [one for content in files.values() for one in discovered_listeners(content)]
    if found or not discovers_listeners(config):
        return found
    path = lds_file(config)
    if path is None:
        return None
    mine = (content for name, content in files.items() if f"/{path}".endswith(f"/{name}"))
    return [] if isinstance(next(mine, None), (str, dict)) else None


def prediction_of(
    deciding: Mapping[str, Any], *, concurrency: int | None = None, version: str = ""
) -> Prediction:
    """Return what is expected of the start of an Envoy that had such a config.

    Args:
        deciding: what of its config decides.
        concurrency: as `predict_start` takes it.
        version: likewise.

    Raises:
        PredictError: as `predict_start` does.
    """
    # Each run notes what decides, and few are held against the model.
    from envoyassert.predict.start import predict_start

    return predict_start(
        deciding.get("bootstrap"),
        concurrency=concurrency,
        version=version,
        discovered=deciding.get("discovered"),
    )


#: Extensions by which there are listeners without sockets: within Envoy, and those that dial out.
INTERNAL, REVERSE_TUNNEL = "internal_listener", "reverse_tunnel.downstream_socket_interface"


def has_extension(config: object, name: str) -> bool:
    """Return whether a bootstrap has an extension: `INTERNAL`, `REVERSE_TUNNEL`."""
    for one in items_of(proto_field(config, "bootstrap_extensions")):
        kind = proto_field(proto_field(one, "typed_config"), "@type")
        if f"{proto_field(one, 'name')} {kind}".count(name):
            return True
    return False


def _listener(listener: object) -> dict[str, Any]:
    found = _kept(listener, OF_LISTENER)
    for head, *member in _PRESENT:
        value = proto_field(listener, head)
        inner = proto_field(value, member[0]) if member else value
        if inner is not None:
            found[head] = {member[0]: {}} if member else {}
    # How many there are does not matter, and what is in them may be a secret.
    chains = proto_field(listener, "filter_chains")
    found["filter_chains"] = [{}] if chains or chains == {} else []
    if proto_field(listener, "default_filter_chain") is not None:
        found["default_filter_chain"] = {}
    old = proto_field(proto_field(listener, "deprecated_v1"), "bind_to_port")
    found = {**_apart(listener, LISTENER), **found}
    return found if old is None else {**found, "deprecated_v1": {"bind_to_port": old}}


def _apart(message: object, shape: Shape) -> dict[str, Any]:
    """Return the fields that not every version knows, without their values.

    A field that is null stays null: to Envoy it is not there, but its name is read.
    """
    names = fields_apart(message, shape)
    null = [name for name in names if proto_field(message, name) is None]
    return {name: None if name in null else {} for name in names}


def _kept(message: object, fields: Iterable[str]) -> dict[str, Any]:
    values = {field: proto_field(message, field) for field in fields}
    return {field: value for field, value in values.items() if value is not None}
