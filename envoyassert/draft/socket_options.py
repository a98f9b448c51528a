"""Options that a config names itself: `socket_options` of a listener or of the admin endpoint."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from envoyassert.draft.expected import DraftOption
from envoyassert.names import level_name, option_name
from envoyassert.option_values import FILTERS, OptionValue, option_value_of
from envoyassert.scenario.listeners import items_of, proto_field, proto_int

_STATES = {
    0: "before_bind",
    "STATE_PREBIND": "before_bind",
    1: "bound",
    "STATE_BOUND": "bound",
    2: "listening",
    "STATE_LISTENING": "listening",
}


def socket_options_of(options: object, protocol: str) -> Iterator[DraftOption]:
    """Yield the entries of a config's `socket_options` that are for sockets of a protocol."""
    for option in items_of(options):
        kind = proto_field(option, "type")
        wanted = "datagram" if protocol == "UDP" else "stream"
        if isinstance(kind, dict) and kind and wanted not in kind:
            continue
        try:
            level = level_name(proto_int(proto_field(option, "level") or 0))
            name = option_name(level, proto_int(proto_field(option, "name") or 0))
            value = _value(name, option)
        except (ValueError, binascii.Error):
            continue  # Envoy says itself what it does not take
        state = proto_field(option, "state")
        known = isinstance(state, (str, int))
        yield DraftOption(level, name, value, _STATES.get(state if known else 0, "before_bind"))


def _value(name: int | str, option: Any) -> OptionValue:
    number = proto_field(option, "int_value")
    if number is not None:
        return (proto_int(number) + 2**31) % 2**32 - 2**31  # Envoy hands 4 bytes of it on
    content = base64.b64decode(str(proto_field(option, "buf_value") or ""))
    # What a filter's bytes point at is nothing in Envoy.
    return None if name in FILTERS else option_value_of(name, content)
