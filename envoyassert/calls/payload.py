"""Values in the bytes of a record: texts, addresses, flags."""

from __future__ import annotations

from envoyassert.addresses import Address, canonical_host
from envoyassert.names import SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_TYPE_MASK, SOCKET_TYPES, family_name

Args = tuple[int, ...]
UNSIGNED = 0xFFFFFFFF


def text_at(data: bytes) -> str:
    """Return the text up to the first NUL; bytes that are not UTF-8 as escapes."""
    return data.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def two_words(low: int, high: int) -> int:
    """Return the 64 bits that two arguments hold."""
    return (high & UNSIGNED) << 32 | low & UNSIGNED


_addresses: dict[bytes, Address | None] = {}


def decode_address(data: bytes) -> Address | None:
    """Return the address in a `struct sockaddr` of exactly its length, None if it is cut short."""
    if data in _addresses:
        return _addresses[data]
    if len(_addresses) > 4096:
        _addresses.clear()
    address = _addresses[data] = _decode_address(data)
    return address


def _decode_address(data: bytes) -> Address | None:
    if len(data) < 2:
        return None
    family = int.from_bytes(data[:2], "little")
    name = family_name(family)
    if family == 1:
        if data[2:3] == b"\0":
            return Address(name, abstract=data[3:].decode("utf-8", "backslashreplace"))
        return Address(name, path=text_at(data[2:]))
    if family == 2:
        if len(data) < 8:
            return None
        return Address(name, ".".join(map(str, data[4:8])), int.from_bytes(data[2:4], "big"))
    if family == 10:
        if len(data) < 24:
            return None
        host = canonical_host(data[8:24])
        return Address(name, host, int.from_bytes(data[2:4], "big"))
    return Address(name)


_flag_lists: dict[tuple[str, int], list[str]] = {}

_FLAGS: dict[str, dict[int, str]] = {
    "SOCK": {SOCK_NONBLOCK: "SOCK_NONBLOCK", SOCK_CLOEXEC: "SOCK_CLOEXEC"},
    "EPOLL": {SOCK_CLOEXEC: "EPOLL_CLOEXEC"},
    "O": {SOCK_CLOEXEC: "O_CLOEXEC"},
}


def flag_names(prefix: str, value: int) -> list[str]:
    """Return the names of flags, unknown bits as hex. The list is shared: do not change it.

    Args:
        prefix: `SOCK`, `EPOLL` or `O`.
        value: the mask.
    """
    known = _flag_lists.get((prefix, value))
    if known is None:
        if len(_flag_lists) > 4096:
            _flag_lists.clear()
        table = _FLAGS[prefix]
        known = [name for bit, name in table.items() if value & bit]
        rest = value & UNSIGNED & ~sum(table)
        if rest:
            known.append(hex(rest))
        _flag_lists[prefix, value] = known
    return known


def made_by(args: Args) -> dict[str, object]:
    """Return the arguments of socket(2), the first three of socketpair(2)."""
    kind = args[1] & SOCK_TYPE_MASK
    return {
        "family": family_name(args[0]),
        "type": SOCKET_TYPES.get(kind, kind),
        "flags": flag_names("SOCK", args[1] & ~SOCK_TYPE_MASK),
        "protocol": args[2],
    }
