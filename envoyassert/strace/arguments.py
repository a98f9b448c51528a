"""The arguments of calls as strace prints them, in the form of our own events.

Names are strace's own, so a name that we have wrong shows where the two are compared. What cannot
be read (an address in user memory that strace does not follow) is None.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from envoyassert.addresses import Address
from envoyassert.names import (
    CLONE_NEWNET,
    EPOLL_EVENTS,
    epoll_event_names,
    level_name,
    option_name,
)
from envoyassert.option_values import OptionValue, decode_option_value, option_value_of
from envoyassert.seccomp import answers_of
from envoyassert.strace.filters import instructions_of
from envoyassert.strace.lines import StraceLogError, split, text_of, unquoted

Args = dict[str, Any]

_LEVEL_NAMES = {"SOL_IP": "IPPROTO_IP", "SOL_TCP": "IPPROTO_TCP", "SOL_UDP": "IPPROTO_UDP"}
_LEVEL_NAMES["SOL_IPV6"] = "IPPROTO_IPV6"
#: Numbers of protocols: linux/in.h, linux/netlink.h.
_PROTOCOLS = {
    "IPPROTO_IP": 0,
    "IPPROTO_ICMP": 1,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_ICMPV6": 58,
    "IPPROTO_RAW": 255,
    "IPPROTO_MPTCP": 262,
    "NETLINK_ROUTE": 0,
    "NETLINK_SOCK_DIAG": 4,
    "NETLINK_KOBJECT_UEVENT": 15,
}
#: Families and types that our own events have no name for.
_NUMBERED = {"AF_PACKET": "AF_17", "AF_ALG": "AF_38", "AF_VSOCK": "AF_40", "SOCK_PACKET": 10}
_CLONE = {"CLONE_NEWNET": CLONE_NEWNET, "CLONE_NEWNS": 0x20000, "CLONE_NEWUSER": 0x10000000}
_CLONE |= {"CLONE_NEWPID": 0x20000000, "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000}
_CLONE |= {"CLONE_NEWCGROUP": 0x2000000, "CLONE_FILES": 0x400, "CLONE_FS": 0x200}
_CLOSE_RANGE = {"CLOSE_RANGE_UNSHARE": 2, "CLOSE_RANGE_CLOEXEC": 4}
_EPOLL_BITS = {name: bit for bit, name in EPOLL_EVENTS.items()}
_RIGHTS = re.compile(r"cmsg_type=SCM_RIGHTS, cmsg_data=\[([-\d, ]+)\]")
_UNNAMED = re.compile(r"(0x[0-9a-f]+|\d+) /\* [A-Z_]+\?\?\? \*/")


def arguments_of(name: str, text: str, ret: int | None) -> Args | None:
    """Return the arguments of a call; None if our own events do not have such a call.

    Args:
        name: of the call.
        text: what strace printed between the parentheses.
        ret: the call's result, None if it has not returned.

    Raises:
        StraceLogError: they are not understood.
    """
    make = _MAKERS.get(name)
    if make is None:
        return None
    try:
        return make(split(text), ret)
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise StraceLogError(f"{name}({text[:120]}): {error}") from error


def _number(text: str) -> int:
    unnamed = _UNNAMED.match(text)
    return int(unnamed[1] if unnamed else text, 0)


def _bits(text: str, table: dict[str, int]) -> int:
    """Return a mask from names and numbers with bars between."""
    return sum(table[part] if part in table else int(part, 0) for part in text.split("|"))


def _flags(text: str, order: tuple[str, ...]) -> list[str]:
    """Return names of flags in our own order; unknown ones as hex."""
    parts = [] if text in ("0", "") else text.split("|")
    known = [name for name in order if name in parts]
    rest = sum(int(part, 0) for part in parts if part not in order)
    return [*known, hex(rest)] if rest else known


_SOCK = ("SOCK_NONBLOCK", "SOCK_CLOEXEC")


def _socket_args(a: list[str]) -> Args:
    kind, *flags = a[1].split("|")
    family = _NUMBERED.get(a[0], a[0])
    protocol = _PROTOCOLS[a[2]] if a[2] in _PROTOCOLS else _number(a[2])
    return {
        "family": family,
        "type": _NUMBERED.get(kind, kind),
        "flags": _flags("|".join(flags), _SOCK),
        "protocol": protocol,
    }


def _socket(a: list[str], _: int | None) -> Args:
    return _socket_args(a)


def _socketpair(a: list[str], ret: int | None) -> Args:
    fds = [int(fd) for fd in split(a[3].strip("[]"))] if ret == 0 else []
    return {**_socket_args(a), "fds": fds}


def address_of(text: str) -> Address | None:
    """Return the address in a `struct sockaddr` as strace prints it, None for a mere pointer."""
    family = re.search(r"sa_family=(AF_\w+)", text)
    if family is None:
        return None
    port = re.search(r"htons\((\d+)\)", text)
    if port is not None:
        host = re.search(r'(?:inet_addr\(|AF_INET6, )"([^"]+)"', text)
        return Address.inet(host[1], int(port[1])) if host else None
    if family[1] != "AF_UNIX":
        return Address(_NUMBERED.get(family[1], family[1]))  # type: ignore[arg-type]  # a name
    name = re.search(r'sun_path=(@?)("(?:[^"\\]|\\.)*")', text)
    if name is None:
        return Address("AF_UNIX", path="")
    value = unquoted(name[2])
    if name[1]:
        return Address("AF_UNIX", abstract=text_of(value))
    return Address("AF_UNIX", path=text_of(value.split(b"\0", 1)[0]))


def _with_address(a: list[str], _: int | None) -> Args:
    return {"fd": int(a[0]), "address": address_of(a[1])}


def _accept(a: list[str], _: int | None) -> Args:
    flags = _flags(a[3], _SOCK) if len(a) > 3 else []
    return {"fd": int(a[0]), "address": address_of(a[1]), "flags": flags}


def _setsockopt(a: list[str], _: int | None) -> Args:
    level: str | int = _LEVEL_NAMES.get(a[1], a[1])
    if not a[1].startswith(("SOL_", "IPPROTO_")):
        level = level_name(_number(a[1]))
    name: str | int = a[2] if re.fullmatch(r"[A-Z]\w+", a[2]) else option_name(level, _number(a[2]))
    length = int(a[4])
    return {
        "fd": int(a[0]),
        "level": level,
        "name": name,
        "length": length,
        "value": _option_value(name, a[3], length),
    }


#: A longer value than this is a length that was passed, and no bytes: the kernel refuses it.
_MOST_BYTES = 65536


def _option_value(name: str | int, text: str, length: int) -> OptionValue:
    """Return an option's value; None where strace does not show its bytes."""
    if text.startswith('"'):
        if length > _MOST_BYTES:
            return None
        content = unquoted(text)[:length]
        return option_value_of(name, content.ljust(length, b"\0"))
    if re.fullmatch(r"\[-?\d+\]", text):
        number = int(text.strip("[]"))
        code = {1: "=b", 2: "=h", 4: "=i", 8: "=q"}.get(length)
        if code is None or (length < 4 and number > 127):
            return number
        return option_value_of(name, struct.pack(code, number))
    linger = re.fullmatch(r"\{l_onoff=(-?\d+), l_linger=(-?\d+)\}", text)
    if linger:
        return option_value_of(name, struct.pack("=2i", int(linger[1]), int(linger[2])))
    program = re.fullmatch(r"\{len=(\d+), filter=\[(.*)\]\}", text)
    if program:
        return decode_option_value(name, length, (int(program[1]), 0), _program(program[2]))
    names = re.fullmatch(r"\[([A-Z_|]+)\]", text)
    return None if names is None else _named_value(names[1])


def _program(text: str) -> bytes:
    """Return the instructions of a packet filter; none where they are not understood."""
    try:
        return instructions_of(split(text))
    except ValueError:
        return b""


#: Values that strace prints by name: linux/in.h, linux/in6.h, linux/net_tstamp.h.
_VALUES = {"IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2}
_VALUES |= {"IP_PMTUDISC_PROBE": 3, "IP_PMTUDISC_INTERFACE": 4, "IP_PMTUDISC_OMIT": 5}


def _named_value(text: str) -> OptionValue:
    return _bits(text, _VALUES) if all(part in _VALUES for part in text.split("|")) else None


def _epoll_ctl(a: list[str], _: int | None) -> Args:
    events = re.match(r"\{events=([A-Z0-9a-fx|]+)", a[3])
    mask = _bits(events[1], _EPOLL_BITS) if events else 0
    return {"epfd": int(a[0]), "op": a[1], "fd": int(a[2]), "events": epoll_event_names(mask)}


def _rights(a: list[str], _: int | None) -> Args | None:
    """Return what a message carries; None for one without descriptors."""
    found = _RIGHTS.search(a[1])
    if found is None:
        return None
    fds = [int(fd) for fd in found[1].split(",")]
    return {"fd": int(a[0]), "fds": fds, "truncated": "MSG_CTRUNC" in a[1]}


def _fcntl(a: list[str], _: int | None) -> Args | None:
    if not a[1].startswith("F_DUPFD"):
        return None
    return {"fd": int(a[0]), "cmd": a[1], "arg": _number(a[2])}


def _close_range(a: list[str], _: int | None) -> Args:
    mask = 0xFFFFFFFF
    return {
        "first": _number(a[0]) & mask,
        "last": _number(a[1]) & mask,
        "flags": _bits(a[2], _CLOSE_RANGE),
    }


def _path(text: str) -> str | None:
    return text_of(unquoted(text)) if text.startswith('"') else None


_CWD = "AT_FDCWD"
_RENAME_FLAGS = {"RENAME_NOREPLACE": 1, "RENAME_EXCHANGE": 2, "RENAME_WHITEOUT": 4}


def _directory(text: str) -> int:
    return -100 if text == _CWD else int(text)


def _renamed(a: list[str]) -> Args:
    return {
        "path": _path(a[1]),
        "to": _path(a[3]),
        "dirfds": [_directory(a[0]), _directory(a[2])],
        "flags": _bits(a[4], _RENAME_FLAGS),
    }


def _seccomp(a: list[str], _: int | None) -> Args | None:
    """Return what a filter that is set can answer; None for what sets none."""
    if a[0] == "SECCOMP_SET_MODE_STRICT":
        return {"answers": []}
    return _filter(a[2]) if a[0] == "SECCOMP_SET_MODE_FILTER" else None


def _prctl(a: list[str], _: int | None) -> Args | None:
    if a[0] != "PR_SET_SECCOMP":
        return None
    return {"answers": []} if a[1] == "SECCOMP_MODE_STRICT" else _filter(a[2])


def _filter(text: str) -> Args:
    program = re.fullmatch(r"\{len=(\d+), filter=\[(.*)\]\}", text)
    if program is None:
        return {"answers": None}
    return {"answers": answers_of(_program(program[2]), int(program[1]))}


def _shutdown(a: list[str], _: int | None) -> Args:
    return {"fd": int(a[0]), "how": a[1] if a[1].startswith("SHUT_") else _number(a[1])}


_MAKERS: dict[str, Callable[[list[str], int | None], Args | None]] = {
    "socket": _socket,
    "socketpair": _socketpair,
    "bind": _with_address,
    "connect": _with_address,
    "getsockname": _with_address,
    "listen": lambda a, _: {"fd": int(a[0]), "backlog": int(a[1])},
    "accept": _accept,
    "accept4": _accept,
    "setsockopt": _setsockopt,
    "shutdown": _shutdown,
    "dup": lambda a, _: {"fd": int(a[0])},
    "dup2": lambda a, _: {"fd": int(a[0]), "newfd": int(a[1]), "flags": []},
    "dup3": lambda a, _: {
        "fd": int(a[0]),
        "newfd": int(a[1]),
        "flags": _flags(a[2], ("O_CLOEXEC",)),
    },
    "fcntl": _fcntl,
    "close": lambda a, _: {"fd": int(a[0])},
    "close_range": _close_range,
    "epoll_create": lambda _a, _: {"flags": []},
    "epoll_create1": lambda a, _: {"flags": _flags(a[0], ("EPOLL_CLOEXEC",))},
    "epoll_ctl": _epoll_ctl,
    "epoll_wait": lambda a, _: {"epfd": int(a[0])},
    "epoll_pwait": lambda a, _: {"epfd": int(a[0])},
    "epoll_pwait2": lambda a, _: {"epfd": int(a[0])},
    "sendmsg": _rights,
    "recvmsg": _rights,
    "sendmmsg": _rights,
    "unlink": lambda a, _: {"path": _path(a[0])},
    "unlinkat": lambda a, _: {"path": _path(a[1]), "dirfd": _directory(a[0])},
    "rename": lambda a, _: _renamed([_CWD, a[0], _CWD, a[1], "0"]),
    "renameat": lambda a, _: _renamed([*a, "0"]),
    "renameat2": lambda a, _: _renamed(a),
    "seccomp": _seccomp,
    "prctl": _prctl,
    # Of programs of 32 bits, and not told apart further; strace knows their other calls by name.
    "socketcall": lambda _a, _: {"table": "32-bit", "number": 102},
    "chmod": lambda a, _: {"path": _path(a[0]), "mode": int(a[1], 8)},
    "fchmodat": lambda a, _: {"path": _path(a[1]), "mode": int(a[2], 8)},
    "fchmod": lambda a, _: {"fd": int(a[0]), "mode": int(a[1], 8)},
    "setns": lambda a, _: {"fd": int(a[0]), "nstype": _bits(a[1], _CLONE), "path": None},
    "unshare": lambda a, _: {"flags": _bits(a[0], _CLONE)},
    "io_uring_setup": lambda _a, _: {},
    "pidfd_getfd": lambda a, _: {"fd": int(a[1])},
}

#: The calls that our own events have, by strace's names.
CALLS = tuple(_MAKERS)
