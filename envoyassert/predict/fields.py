"""In what two configs of a listener differ, as protobuf compares them.

Envoy compares listeners in three ways, and each decides something else. A listener that is the same
message is left alone. One that differs in its filter chains alone is updated in place; for that a
field with its default is like one that is absent, and lists are sets. And what is set on sockets is
compared option by option, in order. Source: Envoy's ListenerManagerImpl::
addOrUpdateListenerInternal, ListenerMessageUtil::filterChainOnlyChange (MessageDifferencer,
EQUIVALENT, AS_SET) and socketOptionsEqual; each case was seen on 1.36.4 and 1.40.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from envoyassert.predict.effects import Why
from envoyassert.scenario.listeners import items_of, proto_field, proto_flag, proto_int

#: Those of which Envoy makes an update in place.
CHAINS = ("filter_chains", "default_filter_chain", "filter_chain_matcher")
#: Fields of plain types: one with its default is the same message as one without the field.
_PLAIN = frozenset(
    {
        "bypass_overload_manager",
        "continue_on_listener_filters_timeout",
        "description",
        "drain_type",
        "enable_mptcp",
        "ignore_global_conn_limit",
        "int_value",
        "ipv4_compat",
        "level",
        "mode",
        "name",
        "network_namespace_filepath",
        "path",
        "port_value",
        "protocol",
        "resolver_name",
        "reuse_port",
        "stat_prefix",
        "state",
        "traffic_direction",
    }
)
#: Names of enumerators that stand for 0.
_ZERO = {
    "drain_type": "DEFAULT",
    "protocol": "TCP",
    "state": "STATE_PREBIND",
    "traffic_direction": "UNSPECIFIED",
}
_WHY = {
    **dict.fromkeys(CHAINS, Why.FILTER_CHAINS),
    "enable_reuse_port": Why.REUSE_PORT,
    "reuse_port": Why.REUSE_PORT,
    "transparent": Why.SOCKET_OPTIONS,
    "freebind": Why.SOCKET_OPTIONS,
    "tcp_fast_open_queue_length": Why.SOCKET_OPTIONS,
    "tcp_keepalive": Why.SOCKET_OPTIONS,
    "socket_options": Why.SOCKET_OPTIONS,
    "address": Why.ADDRESS,
    "additional_addresses": Why.ADDRESSES,
    "bind_to_port": Why.BIND_TO_PORT,
    "deprecated_v1": Why.BIND_TO_PORT,
    "internal_listener": Why.BIND_TO_PORT,
    "connection_balance_config": Why.BALANCE,
    "tcp_backlog_size": Why.BACKLOG,
    "enable_mptcp": Why.AT_CREATION,
}
_SNAKE = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Difference(NamedTuple):
    """One field in which two listeners differ.

    Args:
        why: what it is to Envoy.
        field: its path.
        before: its value in the old one, None if it is absent.
        after: likewise in the new one.
    """

    why: Why
    field: str
    before: Any
    after: Any


def normal(message: Any) -> Any:
    """Return a message as data with the names that protos have, without what is null."""
    if isinstance(message, Mapping):
        return {
            _snake(str(key)): normal(value) for key, value in message.items() if value is not None
        }
    return [normal(value) for value in message] if isinstance(message, list) else message


@lru_cache(4096)
def _snake(name: str) -> str:
    return _SNAKE.sub(lambda found: f"_{found[1].lower()}", name)


def is_same_message(old: Any, new: Any) -> bool:
    """Return whether two listeners, as `normal` has them, are the same message to Envoy."""
    return _same(old, new, "")


def is_only_chains(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether nothing but filter chains differs, as Envoy compares that."""
    rest = [{key: value for key, value in one.items() if key not in CHAINS} for one in (old, new)]
    return _equivalent(rest[0], rest[1], "")


def options_of_sockets(listener: Any) -> list[Any]:
    """Return what Envoy compares to know whether two listeners can share sockets."""
    own = [_options(listener), *map(_own, items_of(proto_field(listener, "additional_addresses")))]
    queue = proto_field(listener, "tcp_fast_open_queue_length")
    flags = [proto_flag(listener, field) is True for field in ("transparent", "freebind")]
    return [flags, proto_int(queue) if queue is not None else 0, own]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield each field in which two listeners differ, those that decide most first.

    Args:
        old: a listener, as `normal` has it.
        new: another one, likewise.
    """
    found = [
        Difference(_why(path), path, _shown(path, before), _shown(path, after))
        for path, before, after in _leaves(old, new, "")
    ]
    order = {why: number for number, why in enumerate(_WHY.values())}
    yield from sorted(found, key=lambda one: (one.why is Why.OTHER, order.get(one.why, 99)))


def _why(path: str) -> Why:
    first, _, rest = path.partition(".")
    if rest.endswith(("ipv4_compat", "pipe.mode")):
        return Why.AT_CREATION
    return Why.PROTOCOL if rest == "socket_address.protocol" else _WHY.get(first, Why.OTHER)


def _leaves(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            below = f"{path}.{key}" if path else key
            if not _same(old.get(key), new.get(key), key):
                if below in CHAINS or below not in _NESTED:
                    yield below, old.get(key), new.get(key)
                else:
                    yield from _leaves(old.get(key, {}), new.get(key, {}), below)
    else:
        yield path, old, new


#: Messages of which each field is a difference of its own.
_NESTED = frozenset(
    {
        "address",
        "address.socket_address",
        "address.pipe",
        "connection_balance_config",
        "deprecated_v1",
        "tcp_keepalive",
    }
)


def _shown(path: str, value: Any) -> Any:
    """Return a value as it may be shown to anyone: filters and chains may hold secrets."""
    if path in CHAINS or path.partition(".")[0] not in _WHY:
        if isinstance(value, list):
            return {"count": len(value)}
        return {} if isinstance(value, Mapping) else value
    return value


def _same(old: Any, new: Any, field: str) -> bool:
    """Whether two values are the same in the message, where presence counts but for plain types."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(_same(old.get(key), new.get(key), key) for key in {*old, *new})
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip(old, new, strict=False)
        return len(old) == len(new) and all(_same(one, two, field) for one, two in pairs)
    if field in _PLAIN and _is_zero(old, field) and _is_zero(new, field):
        return True
    if [] in (old, new):
        return old in (None, []) and new in (None, [])
    return _is_scalar_same(old, new)


def _equivalent(old: Any, new: Any, field: str) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        left = list(new)
        for one in old:
            at = next((n for n, two in enumerate(left) if _equivalent(one, two, field)), None)
            if at is None:
                return False
            del left[at]
        return not left
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return all(_equivalent(old.get(key), new.get(key), key) for key in {*old, *new})
    if _is_zero(old, field) and _is_zero(new, field):
        return True
    return _is_scalar_same(old, new)


def _is_zero(value: Any, field: str) -> bool:
    """Whether a value is a default of protobuf, however it is written."""
    if isinstance(value, Mapping):
        return all(_is_zero(below, key) for key, below in value.items())
    zero = (None, False, 0, 0.0, "", "0", "false", "0s", _ZERO.get(field, ""))
    return value == [] or (not isinstance(value, list) and value in zero)


def _is_scalar_same(old: Any, new: Any) -> bool:
    return bool(old == new) or (
        all(isinstance(one, (str, int, float)) for one in (old, new))
        and str(old).lower() == str(new).lower()
    )


def _own(entry: Any) -> Any:
    """Return what one additional address has of its own, None for what it has not."""
    wrapper = proto_field(entry, "socket_options")
    return (None if wrapper is None else _literal(wrapper)), _keepalive(entry)


def _options(listener: Any) -> Any:
    return _literal(listener), _keepalive(listener)


def _literal(holder: Any) -> list[Any]:
    return [
        {key: value for key, value in option.items() if not _is_zero(value, key)}
        for option in normal(items_of(proto_field(holder, "socket_options")))
    ]


def _keepalive(entry: Any) -> Any:
    return normal(proto_field(entry, "tcp_keepalive"))


def has_chains(listener: Mapping[str, Any]) -> bool:
    """Return whether a listener has filter chains; without them there is no update in place."""
    return bool(items_of(listener.get("filter_chains")))
