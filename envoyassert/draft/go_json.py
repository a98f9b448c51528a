"""Listeners as Go's own JSON encoder writes the structs of a proto message.

Programs that print a message without protobuf's JSON (Emissary's snapshots, debug output) have a
member for each oneof (`{"Address": {"SocketAddress": {…}}}`), an object for each wrapped value
(`{"value": true}`, and `{}` for false or 0), and enums as numbers.
"""

from __future__ import annotations

import re
from typing import Any

from envoyassert.scenario.listeners import proto_name

_FLAGS = frozenset(
    {"enable_reuse_port", "freebind", "transparent", "bind_to_port", "use_original_dst"}
)
_NUMBERS = frozenset(
    {
        *("tcp_backlog_size", "tcp_fast_open_queue_length"),
        *("keepalive_probes", "keepalive_time", "keepalive_interval"),
    }
)
#: Proto names, and those of proto JSON, begin with a small letter; fields of a struct do not.
_FIELD_OF_STRUCT = re.compile(r"[A-Z][A-Za-z0-9_]*")


def without_go_json(value: Any) -> Any:
    """Return a message as proto JSON has it, of one that may be Go's own JSON.

    Args:
        value: a listener, or a part of one; what is proto JSON already stays as it is.
    """
    if isinstance(value, list):
        return [without_go_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, member in value.items():
        if _FIELD_OF_STRUCT.fullmatch(str(key)) and isinstance(member, dict):
            found |= {_field(name): without_go_json(one) for name, one in member.items()}
        elif isinstance(member, dict) and set(member) <= {"value"} and key in _FLAGS | _NUMBERS:
            found[key] = member.get("value", False if key in _FLAGS else 0)
        else:
            found[key] = without_go_json(member)
    return found


def _field(name: str) -> str:
    """Return the proto name of a struct's field: `SocketAddress`, `BufValue`."""
    return proto_name(name).lstrip("_")
