"""The shape of what the model reads of a config, as Envoy reads it from YAML and JSON.

A value of another type than its field ends Envoy before it looks at anything else. Each rule was
seen on 1.36.4 and 1.40.0 by `envoy --mode validate`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from envoyassert.predict.prediction import PredictError
from envoyassert.scenario.listeners import proto_flag, proto_name

_ALPHABET = str.maketrans("-_", "+/")
_WHOLE = re.compile(r"[+-]?\d+")
#: Text that Envoy takes for a number since 1.38 at the latest, and 1.36 does not.
_OTHER_NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+)")


class _NotThisError(ValueError):
    """A value is none of a type.

    Args:
        message: of which, with a verb.
        remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str = "Envoy refuses this config") -> None:
        super().__init__(message)
        self.remedy = remedy


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _NotThisError("is no text")
    return value


def _bytes(value: Any) -> str:
    """Return base64 in its usual alphabet, and padded: protobuf asks for neither."""
    text = _text(value).rstrip("=").translate(_ALPHABET)
    padded = text + "=" * (-len(text) % 4)
    try:
        base64.b64decode(padded, validate=True)
    except ValueError as error:
        raise _NotThisError("is no base64") from error
    return padded


def _flag(value: Any) -> bool:
    flag = proto_flag({"flag": value}, "flag")
    if not isinstance(flag, bool):
        raise _NotThisError("is neither true nor false")
    return flag


def _number(value: Any) -> Decimal | None:
    """Return a number, which may be text; None for anything else."""
    text = isinstance(value, str) and _WHOLE.fullmatch(value)
    if not text and isinstance(value, str) and _OTHER_NUMBER.fullmatch(value):
        raise _NotThisError("is a number that some versions of Envoy refuse", "write it in digits")
    if text or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        try:
            return Decimal(value)
        except ArithmeticError:
            return None  # an exponent beyond all bounds
    return None


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        found = _number(value)
        if found is None or not found.is_finite() or not least <= found <= most or found % 1:
            raise _NotThisError(f"is no whole number from {least} to {most}")
        return int(found)

    return whole


_INT32, _UINT32 = _whole(-(2**31), 2**31 - 1), _whole(0, 2**32 - 1)
_INT64 = _whole(-(2**63), 2**63 - 1)


def _choice(*names: str) -> Callable[[Any], str | int]:
    """Return what reads an enum, by name or number; a number without a name stays one."""

    def choice(value: Any) -> str | int:
        if isinstance(value, str) and value.upper() in names:
            return value.upper()
        try:
            number = _INT32(value)
        except _NotThisError as error:
            raise _NotThisError(f"is none of {', '.join(names)}") from error
        return names[number] if 0 <= number < len(names) else number

    return choice


def _wrapped(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what reads a value that may be in a message of its own, `{value: true}`."""

    def unwrapped(value: Any) -> Any:
        if isinstance(value, dict) and set(value) <= {"value"}:
            inner = value.get("value")
            return read(False if read is _flag else 0) if inner is None else read(inner)
        return read(value)

    return unwrapped


#: A message by its fields, a list of such, or what reads a plain value.
_Shape = Mapping[str, "_Shape"] | list["_Shape"] | Callable[[Any], Any]

_SIZE = _wrapped(_UINT32)
_ADDRESS: dict[str, _Shape] = {
    "socket_address": {
        **dict.fromkeys(("address", "named_port", "resolver_name"), _text),
        "network_namespace_filepath": _text,
        "port_value": _UINT32,
        "protocol": _choice("TCP", "UDP"),
        "ipv4_compat": _flag,
    },
    "pipe": {"path": _text, "mode": _UINT32},
    "envoy_internal_address": {},
}
_OPTIONS: list[_Shape] = [
    {
        **dict.fromkeys(("level", "name", "int_value"), _INT64),
        "buf_value": _bytes,
        "state": _choice("STATE_PREBIND", "STATE_BOUND", "STATE_LISTENING"),
        "type": {"stream": {}, "datagram": {}},
    }
]
#: Of these, an address and an option have one each.
_ONE_OF = (*_ADDRESS, "int_value", "buf_value")
_KEEPALIVE: dict[str, _Shape] = dict.fromkeys(
    ("keepalive_probes", "keepalive_time", "keepalive_interval"), _SIZE
)
_LISTENER: dict[str, _Shape] = {
    "name": _text,
    "address": _ADDRESS,
    "additional_addresses": [
        {
            "address": _ADDRESS,
            "socket_options": {"socket_options": _OPTIONS},
            "tcp_keepalive": _KEEPALIVE,
        }
    ],
    "socket_options": _OPTIONS,
    "tcp_keepalive": _KEEPALIVE,
    **dict.fromkeys(("tcp_backlog_size", "tcp_fast_open_queue_length"), _SIZE),
    **dict.fromkeys(
        ("bind_to_port", "enable_reuse_port", "freebind", "transparent"), _wrapped(_flag)
    ),
    **dict.fromkeys(("reuse_port", "enable_mptcp"), _flag),
    "deprecated_v1": {"bind_to_port": _wrapped(_flag)},
    "connection_balance_config": {"exact_balance": {}, "cpu_locality_balance": {}},
    "filter_chains": [{}],
    "default_filter_chain": {},
    "api_listener": {},
    "internal_listener": {},
    "udp_listener_config": {"quic_options": {}},
}
_BOOTSTRAP: dict[str, _Shape] = {
    "static_resources": {"listeners": [_LISTENER]},
    "dynamic_resources": {"lds_config": {}},
    "admin": {"address": _ADDRESS, "socket_options": _OPTIONS},
    "bootstrap_extensions": [{"name": _text, "typed_config": {}}],
    "enable_worker_cpu_affinity": _flag,
    "layered_runtime": {"layers": [{"static_layer": {}}]},
    "node": {},
}


def bootstrap_as_read(config: Any) -> Any:
    """Return a bootstrap whose lists, numbers, flags and choices are written in one way.

    Protobuf takes one message for a list of one, `"64"` for 64, `"yes"` for true, and `udp` or 1
    for `UDP`.

    Args:
        config: the bootstrap as data.

    Raises:
        PredictError: it has a value of another type than Envoy reads there.
    """
    return _as_read(config, _BOOTSTRAP, "")


def listeners_as_read(listeners: Any) -> tuple[Any, ...]:
    """Return listeners of a control plane, as `bootstrap_as_read` returns a bootstrap.

    Args:
        listeners: their configs.

    Raises:
        PredictError: one has a value of another type than Envoy reads there.
    """
    return tuple(_as_read([*listeners], [_LISTENER], "resources"))


def _as_read(value: Any, shape: _Shape, path: str) -> Any:
    if value is None:
        return None
    if isinstance(shape, list):
        if not isinstance(value, (list, dict)):
            raise _refused(f"{path} is no list")
        entries = [{} if one is None else one for one in _flat(value)]
        return [_as_read(one, shape[0], f"{path}.{n}") for n, one in enumerate(entries)]
    if not isinstance(shape, Mapping):
        try:
            return shape(value)
        except _NotThisError as error:
            raise PredictError(f"{path} {error}", error.remedy) from error
    if not isinstance(value, dict):
        raise _refused(f"{path or 'the config'} is no mapping")
    found = dict(value)
    for key, member in value.items():
        name = proto_name(str(key))
        if name in shape:
            found[key] = _as_read(member, shape[name], f"{path}.{name}".lstrip("."))
    names = [proto_name(str(key)) for key, member in value.items() if member is not None]
    kinds = [name for name in names if name in _ONE_OF]
    if shape in (_ADDRESS, _OPTIONS[0]) and len(kinds) > 1:
        raise _refused(f"{path} has {' and '.join(kinds)}")
    return found


def _flat(value: Any) -> Iterator[Any]:
    """Yield the entries of a list; protobuf takes lists in lists, and one entry alone."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, list):
            yield from _flat(one)
        else:
            yield one


def _refused(message: str) -> PredictError:
    return PredictError(message, "Envoy refuses this config")
