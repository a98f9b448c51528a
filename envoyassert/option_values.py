"""Values of socket options: from the bytes that setsockopt was given, and as text.

Numbers stay numbers. Where the kernel takes a structure or text, the value is shown by its parts:
`struct linger` (socket(7)), `struct sock_fprog` with the instructions that it points at
(Linux, Documentation/networking/filter.rst), and names (`TCP_CONGESTION`, `SO_BINDTODEVICE`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

_PAIR = struct.Struct("=2i")
_LONG = struct.Struct("=q")

#: sizeof(struct sock_fprog) on machines of 64 bits, and of one struct sock_filter.
_PROGRAM_SIZE, _INSTRUCTION_SIZE = 16, 8
#: Options that attach a classic packet filter: the value points at its instructions.
FILTERS = frozenset({"SO_ATTACH_FILTER", "SO_ATTACH_REUSEPORT_CBPF"})
#: Options whose value is a name.
NAMED_VALUES = frozenset({"SO_BINDTODEVICE", "TCP_CONGESTION", "TCP_ULP"})
#: How many digits of a hash are shown.
_SHOWN_DIGITS = 12

OptionValue = int | str | dict[str, int | str | None] | None


def decode_option_value(
    name: int | str, length: int, head: tuple[int, int], data: bytes
) -> OptionValue:
    """Return the value that setsockopt was given.

    Args:
        name: the option's name, or its number if it has none.
        length: of the value in bytes, as it was passed.
        head: the value's first 8 bytes as two numbers; of a packet filter its length in
            instructions comes first.
        data: the value itself if it is longer than 8 bytes; of a packet filter its instructions,
            as far as they were read.
    """
    if name in FILTERS and length == _PROGRAM_SIZE:
        return _program(head[0], data)
    if name == "SO_LINGER" and length == _PAIR.size:
        return {"onoff": head[0], "linger_s": head[1]}
    raw = _PAIR.pack(*head)[:length] if 0 <= length <= _PAIR.size else data
    if name in NAMED_VALUES:
        return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    if length == 4:
        return head[0]
    if length == _LONG.size:
        return int(_LONG.unpack(raw)[0])
    return raw.hex()


def option_value_of(name: int | str, content: bytes) -> OptionValue:
    """Return the value that a setsockopt with these bytes sets."""
    first, second = _PAIR.unpack(content[: _PAIR.size].ljust(_PAIR.size, b"\0"))
    return decode_option_value(name, len(content), (first, second), content)


def _program(instructions: int, data: bytes) -> dict[str, int | str | None]:
    # A hash of a part would be that of another program.
    whole = len(data) == instructions * _INSTRUCTION_SIZE
    digest = hashlib.sha256(data).hexdigest() if whole else None
    return {"instructions": instructions, "sha256": digest}


def value_text(value: object) -> str:
    """Return a value for people: `1`, `{onoff: 1, linger_s: 5}`, `?` if it could not be read."""
    if value is None:
        return "?"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_part(key, part)}" for key, part in value.items()) + "}"
    return str(value)


def _part(key: str, part: object) -> str:
    if part is None:
        return "?"
    text = str(part)
    return text[:_SHOWN_DIGITS] + "…" if key == "sha256" and len(text) > _SHOWN_DIGITS else text


def value_matches(seen: OptionValue, wanted: int | str | Mapping[str, int | str]) -> bool | None:
    """Return whether a value is the wanted one, None if what was read does not show it.

    Of a value with parts those that are wanted are compared; a wanted `sha256` may be the
    beginning of the hash.
    """
    if seen is None:
        return None
    if not isinstance(wanted, Mapping):
        return seen == wanted
    if not isinstance(seen, dict):
        return False
    known = {key: value for key, value in wanted.items() if seen.get(key, "") is not None}
    for key, value in known.items():
        part = seen.get(key)
        same = str(part).startswith(str(value)) if key == "sha256" else part == value
        if not same:
            return False
    return True if len(known) == len(wanted) else None
