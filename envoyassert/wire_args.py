"""The arguments of an event from the numbers and the payload of its record.

One function per record type. They take any numbers and any payload: what is cut short becomes
None or is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from envoyassert.addresses import Address, canonical_host
from envoyassert.names import (
    EPOLL_OPS,
    FCNTL_DUPS,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_TYPE_MASK,
    SOCKET_TYPES,
    TCP_STATES,
    epoll_event_names,
    family_name,
    level_name,
    option_name,
)
from envoyassert.option_values import decode_option_value
from envoyassert.seccomp import SECCOMP_MODE_STRICT, answers_of

_UNSIGNED = 0xFFFFFFFF
#: What marks a number as one of x32 (arch/x86/include/uapi/asm/unistd.h of Linux).
_X32_BIT = 1 << 30
#: Sizes of comm and filename at the head of an exec record, see `wire.Exec`.
EXEC_HEAD = (16, 240)


def _text(data: bytes) -> str:
    """Return the text up to the first NUL; bytes that are not UTF-8 as escapes."""
    return data.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


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
        return Address(name, path=_text(data[2:]))
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


Args = tuple[int, ...]
_flag_lists: dict[tuple[str, int], list[str]] = {}

_FLAGS: dict[str, dict[int, str]] = {
    "SOCK": {SOCK_NONBLOCK: "SOCK_NONBLOCK", SOCK_CLOEXEC: "SOCK_CLOEXEC"},
    "EPOLL": {SOCK_CLOEXEC: "EPOLL_CLOEXEC"},
    "O": {SOCK_CLOEXEC: "O_CLOEXEC"},
}


def _flags(prefix: str, value: int) -> list[str]:
    """Return the names of flags, unknown bits as hex. The list is shared: do not change it."""
    known = _flag_lists.get((prefix, value))
    if known is None:
        if len(_flag_lists) > 4096:
            _flag_lists.clear()
        table = _FLAGS[prefix]
        known = [name for bit, name in table.items() if value & bit]
        rest = value & _UNSIGNED & ~sum(table)
        if rest:
            known.append(hex(rest))
        _flag_lists[prefix, value] = known
    return known


def _socket_args(args: Args) -> dict[str, Any]:
    kind = args[1] & SOCK_TYPE_MASK
    return {
        "family": family_name(args[0]),
        "type": SOCKET_TYPES.get(kind, kind),
        "flags": _flags("SOCK", args[1] & ~SOCK_TYPE_MASK),
        "protocol": args[2],
    }


def _socket(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    return _socket_args(args)


def _socketpair(args: Args, _data: bytes, ret: int) -> dict[str, Any]:
    return {**_socket_args(args), "fds": [args[4], args[5]] if ret == 0 else []}


def _with_address(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    return {"fd": args[0], "address": decode_address(data)}


def _accept(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    return {"fd": args[0], "address": decode_address(data), "flags": _flags("SOCK", args[3])}


def _setsockopt(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    level, length = level_name(args[1]), args[3]
    name = option_name(level, args[2])
    return {
        "fd": args[0],
        "level": level,
        "name": name,
        "length": length,
        "value": decode_option_value(name, length, (args[4], args[5]), data),
    }


def _fcntl(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    return {"fd": args[0], "cmd": FCNTL_DUPS.get(args[1], args[1]), "arg": args[2]}


def _close_range(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    return {
        "first": args[0] & _UNSIGNED,
        "last": args[1] & _UNSIGNED,
        "flags": args[2] & _UNSIGNED,
    }


def _epoll_ctl(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    return {
        "epfd": args[0],
        "op": EPOLL_OPS.get(args[1], args[1]),
        "fd": args[2],
        "events": epoll_event_names(args[3] & _UNSIGNED),
    }


def _exec(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    name, filename = EXEC_HEAD
    argv = data[name + filename :].split(b"\0")[:-1]
    return {
        "filename": _text(data[name : name + filename]),
        "argv": [_text(item) for item in argv[: max(args[0], 0)]],
        "name": _text(data[:name]),
    }


def _rights(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    count = len(data) // 4
    fds = list(struct.unpack_from(f"={count}i", data))
    return {"fd": args[0], "fds": fds, "truncated": False}


def _fork(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    thread, shares_files = bool(args[2]), bool(args[3])
    made: dict[str, Any] = {"child_pid": args[0], "child_tid": args[1], "thread": thread}
    if shares_files is not thread:
        made["shares_files"] = shares_files
    return made


def _renameat2(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    old, _, new = data.partition(b"\0")
    return {
        "path": _text(old),
        "to": _text(new) if new else None,
        "dirfds": [args[0], args[1]],
        "flags": args[2] & _UNSIGNED,
    }


def _seccomp(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    if args[1] == SECCOMP_MODE_STRICT:
        return {"answers": []}
    return {"answers": answers_of(data, args[4])}


def _two_words(low: int, high: int) -> int:
    """Return the 64 bits that two arguments hold."""
    return (high & _UNSIGNED) << 32 | low & _UNSIGNED


def _listen(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    made: dict[str, Any] = {"fd": args[0], "backlog": args[1]}
    address = _two_words(args[4], args[5])
    if address:
        made["sk"] = hex(address)
    return made


def _setns(args: Args, data: bytes, _ret: int) -> dict[str, Any]:
    made: dict[str, Any] = {"fd": args[0], "nstype": args[1], "path": None}
    if data:
        made["path"] = _text(data)
        made["age_ns"] = _two_words(args[2], args[3])
    return made


def _tcp_state(args: Args, _data: bytes, _ret: int) -> dict[str, Any]:
    return {
        "sk": hex(_two_words(args[0], args[1])),
        "old": TCP_STATES.get(args[2], args[2]),
        "new": TCP_STATES.get(args[3], args[3]),
    }


Maker = Callable[[Args, bytes, int], dict[str, Any]]

MAKERS: dict[str, Maker] = {
    "EA_SOCKET": _socket,
    "EA_SOCKETPAIR": _socketpair,
    "EA_BIND": _with_address,
    "EA_CONNECT": _with_address,
    "EA_LISTEN": _listen,
    "EA_ACCEPT": _accept,
    "EA_ACCEPT4": _accept,
    "EA_GETSOCKNAME": _with_address,
    "EA_SETSOCKOPT": _setsockopt,
    "EA_SHUTDOWN": lambda a, _d, _r: {
        "fd": a[0],
        "how": {0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}.get(a[1], a[1]),
    },
    "EA_DUP": lambda a, _d, _r: {"fd": a[0]},
    "EA_DUP2": lambda a, _d, _r: {"fd": a[0], "newfd": a[1], "flags": []},
    "EA_DUP3": lambda a, _d, _r: {"fd": a[0], "newfd": a[1], "flags": _flags("O", a[2])},
    "EA_FCNTL": _fcntl,
    "EA_CLOSE": lambda a, _d, _r: {"fd": a[0]},
    "EA_CLOSE_RANGE": _close_range,
    "EA_EPOLL_CREATE": lambda _a, _d, _r: {"flags": []},
    "EA_EPOLL_CREATE1": lambda a, _d, _r: {"flags": _flags("EPOLL", a[0])},
    "EA_EPOLL_CTL": _epoll_ctl,
    "EA_EPOLL_WAIT": lambda a, _d, _r: {"epfd": a[0]},
    "EA_SENDMSG": _rights,
    "EA_SENDMMSG": _rights,
    "EA_RECVMSG": _rights,
    "EA_UNLINK": lambda _a, d, _r: {"path": _text(d)},
    "EA_UNLINKAT": lambda a, d, _r: {"path": _text(d), "dirfd": a[0]},
    "EA_FILE_RENAME": _renameat2,
    "EA_RENAMEAT": _renameat2,
    "EA_RENAMEAT2": _renameat2,
    "EA_CHMOD": lambda a, d, _r: {"path": _text(d), "mode": a[1]},
    "EA_FCHMODAT": lambda a, d, _r: {"path": _text(d), "mode": a[2]},
    "EA_FCHMOD": lambda a, _d, _r: {"fd": a[0], "mode": a[1]},
    "EA_SETNS": _setns,
    "EA_UNSHARE": lambda a, _d, _r: {"flags": a[0] & _UNSIGNED},
    "EA_IO_URING_SETUP": lambda _a, _d, _r: {},
    "EA_PIDFD_GETFD": lambda a, _d, _r: {"fd": a[1]},
    "EA_EXEC": _exec,
    "EA_FORK": _fork,
    "EA_EXIT": lambda a, _d, _r: {"status": a[1] if a[0] else None, "last": bool(a[2])},
    "EA_SIGNAL": lambda a, _d, _r: {"number": a[0]},
    "EA_RENAME": lambda a, d, _r: {"tid": a[0], "name": _text(d)},
    "EA_TCP_STATE": _tcp_state,
    "EA_OTHER_TABLE": lambda a, _d, _r: {
        "table": "x32" if a[0] & _X32_BIT else "32-bit",
        "number": a[0] & ~_X32_BIT,
    },
    "EA_SECCOMP": _seccomp,
    "EA_PRCTL": _seccomp,
}
