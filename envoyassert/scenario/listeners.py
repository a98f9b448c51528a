"""The listeners that an Envoy config names, for reports and for selecting by name.

Only names and addresses are read, as Envoy's protos have them (`envoy.config.listener.v3.Listener`,
`envoy.config.core.v3.Address`; both spellings of proto JSON). What Envoy would refuse is left out
here: Envoy says so itself. No flag is read, except those that say that no socket is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from envoyassert.addresses import LAST_PORT, Address
from envoyassert.errors import ScenarioError
from envoyassert.naming import ListenerRecord
from envoyassert.scenario.envoy_file import parse_envoy_file

_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")
#: Fields of a listener that hold a plain value, by which a matrix may vary all static listeners.
SCALAR_FIELDS = (
    "bind_to_port",
    "bypass_overload_manager",
    "continue_on_listener_filters_timeout",
    "drain_type",
    "enable_mptcp",
    "enable_reuse_port",
    "freebind",
    "ignore_global_conn_limit",
    "listener_filters_timeout",
    "max_connections_to_accept_per_socket_event",
    "per_connection_buffer_limit_bytes",
    "reuse_port",
    "stat_prefix",
    "tcp_backlog_size",
    "tcp_fast_open_queue_length",
    "traffic_direction",
    "transparent",
    "use_original_dst",
)

#: Fields of a message by their proto names: whether the field is a list, and the fields of what is
#: in it, as far as one of them is a list.
_Fields = Mapping[str, tuple[bool, "_Fields"]]
_ONE, _MANY = False, True
_OF_LISTENER: _Fields = {
    "socket_options": (_MANY, {}),
    "listener_filters": (_MANY, {}),
    "filter_chains": (_MANY, {"filters": (_MANY, {})}),
    "additional_addresses": (_MANY, {"socket_options": (_ONE, {"socket_options": (_MANY, {})})}),
}
_OF_BOOTSTRAP: _Fields = {
    "admin": (_ONE, {"socket_options": (_MANY, {})}),
    "static_resources": (
        _ONE,
        {"clusters": (_MANY, {}), "secrets": (_MANY, {}), "listeners": (_MANY, _OF_LISTENER)},
    ),
}

#: absl::SimpleAtob
_FLAGS = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_LISTENER_TYPE = "envoy.config.listener.v3.Listener"


class NotWholeError(ValueError):
    """A field of a config that is a whole number to protobuf has a value that is none."""


def configured_listeners(
    config: object, files: Mapping[str, object] | None = None, *, silent: bool = False
) -> tuple[ListenerRecord, ...]:
    """Return the listeners that a bootstrap config and its files name.

    A listener that asks for no socket (`bind_to_port: false`, `internal_listener`, `api_listener`)
    has a record without addresses. Names are those of `static_listeners`.

    Args:
        config: the bootstrap config as data.
        files: files of the run by name, text or data; those that hold a discovery response with
            listeners are read.
        silent: whether one that asks for no socket has its addresses nevertheless.

    Returns:
        The admin endpoint, the static listeners, then those of the files, each in order.
    """
    records = []
    admin = admin_address(config)
    if admin is not None:
        records.append(ListenerRecord("admin", protocol_of(admin, {}), (admin,), "admin"))
    static = static_listeners(config)
    records += [_record(name, one, "static", silent) for name, one in static.items()]
    for content in (files or {}).values():
        for name, one in discovered_names(config, discovered_listeners(content)):
            records.append(_record(name, one, "lds", silent))
    return tuple(records)


def static_listeners(config: object) -> dict[str, Any]:
    """Return the listeners of a bootstrap that Envoy takes, by names that distinguish them.

    One without a name has its first address as its name. If that is another's name, or a listener
    is called `admin` as the admin endpoint is, a number follows: `127.0.0.1:0 #2`. One that has
    the name of a listener before it is left out: Envoy ignores it (ListenerManagerImpl::
    addOrUpdateListener: a static listener is not updated; seen on 1.36.4 and 1.40.0).

    Args:
        config: the bootstrap config as data.
    """
    static = items_of(proto_field(proto_field(config, "static_resources"), "listeners"))
    given = {name for listener in static if (name := _own_name(listener))}
    taken = {"admin"} if admin_address(config) is not None else set()
    found: dict[str, Any] = {}
    known: set[str] = set()
    for listener in static:
        own = _own_name(listener)
        if own and own in known:
            continue
        known |= {own} if own else set()
        first = name = _name(listener)
        number = 1
        while name in taken or (not own and name in given):
            number += 1
            name = f"{first} #{number}"
        found[name] = listener
        taken.add(name)
    return found


def discovered_names(config: Any, discovered: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Yield listeners of a control plane with names unlike those of the bootstrap.

    One that has the name of a static listener is left out: Envoy does not update that. The name of
    the admin endpoint, or one that stands for an unnamed static listener, is followed by a number.

    Args:
        config: the bootstrap config as data.
        discovered: the listeners.
    """
    static = static_listeners(config)
    given = [proto_field(one, "name") for one in static.values()]
    named = {name for name in given if isinstance(name, str) and name}
    taken = {*static, *(("admin",) if admin_address(config) is not None else ())}
    for one in discovered:
        name, number = _name(one), 1
        own = proto_field(one, "name")
        if isinstance(own, str) and own in named:
            continue
        while (name if number == 1 else f"{name} #{number}") in taken:
            number += 1
        yield (name if number == 1 else f"{name} #{number}"), one


def admin_address(config: object) -> Address | None:
    """Return the configured address of the admin endpoint, None if there is none."""
    # Envoy makes that socket where it is, whatever network_namespace_filepath says.
    address = address_of(proto_field(proto_field(config, "admin"), "address"))
    return None if address is None else address.within("")


def discovers_listeners(config: object) -> bool:
    """Return whether listeners may come from a source outside the bootstrap (LDS, ADS)."""
    return proto_field(proto_field(config, "dynamic_resources"), "lds_config") is not None


def lds_file(config: object) -> str | None:
    """Return the path of the file that a bootstrap names for LDS, None if it names none."""
    source = proto_field(proto_field(config, "dynamic_resources"), "lds_config")
    path = proto_field(proto_field(source, "path_config_source"), "path")
    path = proto_field(source, "path") if path is None else path
    return path if isinstance(path, str) else None


def lds_as_cds(config: object) -> dict[str, object] | None:
    """Return a bootstrap that asks the file of LDS for clusters; None if LDS has no file.

    `envoy --mode validate` looks at every config source but that of LDS (1.36 to 1.40: its listener
    manager makes none). For CDS it does, and files with other resources are no fault.
    """
    source = proto_field(proto_field(config, "dynamic_resources"), "lds_config")
    if not any(proto_field(source, field) for field in ("path", "path_config_source")):
        return None
    node = {"id": "envoyassert", "cluster": "envoyassert"}
    return {"node": node, "dynamic_resources": {"cds_config": source}}


def _record(name: str, listener: object, kind: str, silent: bool) -> ListenerRecord:
    first, addresses = proto_field(listener, "address"), _addresses(listener)
    protocol = protocol_of(addresses[0], first) if addresses else "TCP"
    shown = addresses if silent or asks_for_sockets(listener) else ()
    return ListenerRecord(name, protocol, shown, kind)


def _addresses(listener: object) -> tuple[Address, ...]:
    more = items_of(proto_field(listener, "additional_addresses"))
    places = [proto_field(entry, "address") for entry in (listener, *more)]
    return tuple(address for place in places if (address := address_of(place)) is not None)


def _name(listener: object) -> str:
    """Return the name that a listener is given, else its first address."""
    own = _own_name(listener)
    if own:
        return own
    addresses = _addresses(listener)
    return str(addresses[0]) if addresses else "(unnamed)"


def _own_name(listener: object) -> str:
    """Return the name that a listener is given, "" if none or no text."""
    name = proto_field(listener, "name")
    return name if isinstance(name, str) else ""


def asks_for_sockets(listener: object) -> bool:
    """Return whether a listener's config asks for sockets of its own."""
    return (
        not is_reverse_tunnel(proto_field(listener, "address"))
        and proto_flag(listener, "bind_to_port") is not False
        and proto_flag(proto_field(listener, "deprecated_v1"), "bind_to_port") is not False
        and proto_field(listener, "internal_listener") is None
        and proto_field(listener, "api_listener") is None
    )


def is_reverse_tunnel(place: object) -> bool:
    """Return whether a listener with such an address dials out, and binds and listens nowhere.

    Source: Envoy, extensions/bootstrap/reverse_tunnel (ReverseConnectionResolver).
    """
    name = proto_field(proto_field(place, "socket_address"), "resolver_name")
    return bool(name == "envoy.resolvers.reverse_connection")


def protocol_of(address: Address, place: object) -> str:
    """Return `TCP`, `UDP` or `UNIX`, of an address and the config that it is read from."""
    if not address.is_ip:
        return "UNIX"
    named = str(proto_field(proto_field(place, "socket_address"), "protocol")).upper()
    return "UDP" if named in ("UDP", "1", "1.0") else "TCP"


def address_of(place: object) -> Address | None:
    """Return the address that an `Address` of Envoy's config says, None if it is no such one."""
    pipe = proto_field(proto_field(place, "pipe"), "path")
    if isinstance(pipe, str) and pipe:
        return Address.unix(pipe)
    socket_address = proto_field(place, "socket_address")
    host, port = proto_field(socket_address, "address"), proto_field(socket_address, "port_value")
    if not isinstance(host, str):
        return None
    netns = proto_field(socket_address, "network_namespace_filepath")
    try:
        number = proto_int(port or 0)
        found = Address.inet(host, number).within(netns if isinstance(netns, str) else "")
    except ValueError:
        return None
    return found if 0 <= number <= LAST_PORT else None


def discovered_listeners(content: Any) -> Iterator[Any]:
    """Yield the listeners of a discovery response, text or data; other files hold none."""
    if isinstance(content, str):
        if _LISTENER_TYPE not in content:
            return
        try:
            content = parse_envoy_file(content, "").data
        except ScenarioError:
            return
    yield from filter(is_listener, items_of(proto_field(content, "resources")))


def is_listener(resource: object) -> bool:
    """Return whether a resource of a discovery response is a listener."""
    kind = proto_field(resource, "@type")
    return isinstance(kind, str) and kind.endswith(_LISTENER_TYPE)


def proto_field(mapping: object, field: str) -> Any:
    """Return a field of a proto message by its proto name or its JSON name, None if absent."""
    if not isinstance(mapping, dict):
        return None
    if field in mapping:
        return mapping[field]
    return mapping.get(_json_name(field)) if "_" in field else None


@lru_cache(1024)
def _json_name(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(part.title() for part in rest)


def proto_flag(mapping: object, field: str) -> object:
    """Return a field that is true or false; protobuf takes some words in quotes for these too."""
    value = proto_field(mapping, field)
    return _FLAGS.get(value.lower(), value) if isinstance(value, str) else value


def proto_int(value: Any) -> int:
    """Return a number that protobuf takes for a whole one: `64`, `"64"`, `64.0`, `1e2`.

    Raises:
        NotWholeError: it is none, or does not fit into 64 bits.
    """
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):  # Python takes more for one
            raise ValueError
        try:
            number = int(value)
        except ValueError:
            number = int(float(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise NotWholeError(f"`{value}` is no whole number") from error
    if not -(2**63) <= number < 2**64:
        raise NotWholeError(f"`{value}` does not fit into 64 bits")
    return number


def proto_names(fields: Iterable[str]) -> frozenset[str]:
    """Return the proto names and the JSON names of fields, of which a message has either."""
    return frozenset(name for field in fields for name in (field, _json_name(field)))


@lru_cache(4096)
def proto_name(key: str) -> str:
    """Return a field's proto name, of itself or of its JSON name: `api_config_source`."""
    if key == key.lower():
        return key
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def items_of(value: Any) -> list[Any]:
    """Return a list as it is, and no elements for anything else."""
    return value if isinstance(value, list) else []


def with_lists(config: Any) -> Any:
    """Return a bootstrap in which what is a list to Envoy is one.

    Protobuf takes one message, written without a list, for a list of one; nothing of ours needs to
    know. Of all that a config may hold, this is done of what decides about sockets and of what is
    in a list beside it.
    """
    return _with_lists(config, _OF_BOOTSTRAP)


def _with_lists(message: Any, fields: _Fields) -> Any:
    if not fields or not isinstance(message, dict):
        return message
    changed = {}
    for key, value in message.items():
        is_list, inside = fields.get(proto_name(str(key)), (None, {}))
        if is_list and isinstance(value, (dict, list)):
            elements = [value] if isinstance(value, dict) else value
            changed[key] = [_with_lists(element, inside) for element in elements]
        elif is_list is False:
            changed[key] = _with_lists(value, inside)
    return {**message, **changed}
