"""Plain values of a config, as protobuf reads them from YAML and JSON.

Each rule was seen on 1.36.4 and 1.40.0 by `envoy --mode validate`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from envoyassert.scenario.listeners import proto_flag

_ALPHABET = str.maketrans("-_", "+/")
_WHOLE = re.compile(r"[+-]?[0-9]+")
#: Text that Envoy takes for a number since 1.38 at the latest, and 1.36 does not.
_OTHER_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|0[xX][0-9a-fA-F]+)")


class NotThisError(ValueError):
    """A value is none of a type.

    Args:
        message: of which, with a verb.
        remedy: what to do about it.
    """

    def __init__(self, message: str, remedy: str = "Envoy refuses this config") -> None:
        super().__init__(message)
        self.remedy = remedy


def text(value: Any) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise NotThisError("is no text")
    return value


def base64_text(value: Any) -> str:
    """Return base64 in its usual alphabet, and padded: protobuf asks for neither."""
    bare = text(value).rstrip("=").translate(_ALPHABET)
    padded = bare + "=" * (-len(bare) % 4)
    try:
        base64.b64decode(padded, validate=True)
    except ValueError as error:
        raise NotThisError("is no base64") from error
    return padded


def flag(value: Any) -> bool:
    """Return what is true or false, which may be a word."""
    found = proto_flag({"flag": value}, "flag")
    if not isinstance(found, bool):
        raise NotThisError("is neither true nor false")
    return found


def _number(value: Any) -> Decimal | None:
    """Return a number, which may be text; None for anything else."""
    digits = isinstance(value, str) and _WHOLE.fullmatch(value)
    if not digits and isinstance(value, str) and _OTHER_NUMBER.fullmatch(value):
        raise NotThisError("is a number that some versions of Envoy refuse", "write it in digits")
    if digits or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        try:
            return Decimal(value)
        except ArithmeticError:
            return None  # an exponent beyond all bounds
    return None


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        found = _number(value)
        if found is None or not found.is_finite() or not least <= found <= most or found % 1:
            raise NotThisError(f"is no whole number from {least} to {most}")
        return int(found)

    return whole


INT32, UINT32 = _whole(-(2**31), 2**31 - 1), _whole(0, 2**32 - 1)
INT64 = _whole(-(2**63), 2**63 - 1)


def choice(*names: str) -> Callable[[Any], str | int]:
    """Return what reads an enum, by name or number; a number without a name stays one."""

    def chosen(value: Any) -> str | int:
        if isinstance(value, str) and value.upper() in names:
            return value.upper()
        try:
            number = INT32(value)
        except NotThisError as error:
            raise NotThisError(f"is none of {', '.join(names)}") from error
        return names[number] if 0 <= number < len(names) else number

    return chosen


def wrapped(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what reads a value that may be in a message of its own, `{value: true}`."""

    def unwrapped(value: Any) -> Any:
        if isinstance(value, dict) and set(value) <= {"value"}:
            inner = value.get("value")
            return read(False if read is flag else 0) if inner is None else read(inner)
        return read(value)

    return unwrapped
