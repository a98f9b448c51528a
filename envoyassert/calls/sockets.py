"""Calls on sockets: how they are made, bound, set, and brought to listen and accept."""

from __future__ import annotations

from typing import Any

from typing_extensions import NotRequired

from envoyassert.addresses import Address
from envoyassert.calls.payload import Args, decode_address, flag_names, made_by, two_words
from envoyassert.calls.row import (
    Arguments,
    Effect,
    Numbers,
    Phase,
    RecordedCall,
    Source,
    or_unknown,
)
from envoyassert.names import FAMILIES, LEVELS, OPTIONS, SOCKET_TYPES, level_name, option_name
from envoyassert.option_values import OptionValue, decode_option_value, value_text
from envoyassert.ranges import I32, Flags, Hex, Name
from envoyassert.strace import values as printed
from envoyassert.strace.lines import split_arguments

#: Every socket option that has a name here.
OPTION_NAMES = tuple(sorted({name for options in OPTIONS.values() for name in options.values()}))
_MADE_WORDS = {"family": tuple(FAMILIES.values()), "type": tuple(SOCKET_TYPES.values())}


class SocketArguments(Arguments):
    """socket(2): family `AF_INET`, type `SOCK_STREAM`, flags [`SOCK_NONBLOCK`], protocol."""

    family: str
    type: Name
    flags: Flags
    protocol: I32


def _made_text(args: dict[str, Any]) -> str:
    kind = "|".join([str(args["type"]), *(str(flag) for flag in args.get("flags") or [])])
    return f"{args['family']}, {kind}, {args['protocol']}"


SOCKET = RecordedCall(
    "socket",
    SocketArguments,
    (Source("EA_SOCKET", 1, lambda a, _d, _r: made_by(a), {"socket": Numbers(41, 198)}, words=3),),
    _made_text,
    {"socket": lambda a, _: printed.socket_arguments(a)},
    Effect.MAKE_SOCKET,
    Phase.MADE,
    words=_MADE_WORDS,
    before_accept=True,
    cloexec="SOCK_CLOEXEC",
)


class PairArguments(SocketArguments):
    """socketpair(2): as of socket; fds: the two new descriptors, none if it failed."""

    fds: list[I32]


def _pair(args: Args, _data: bytes, ret: int) -> dict[str, object]:
    return {**made_by(args), "fds": [] if ret < 0 else [args[4], args[5]]}


def _printed_pair(a: list[str], ret: int | None) -> dict[str, object]:
    fds = [int(fd) for fd in split_arguments(a[3].strip("[]"))] if ret == 0 else []
    return {**printed.socket_arguments(a), "fds": fds}


SOCKETPAIR = RecordedCall(
    "socketpair",
    PairArguments,
    (Source("EA_SOCKETPAIR", 2, _pair, {"socketpair": Numbers(53, 199)}),),
    _made_text,
    {"socketpair": _printed_pair},
    Effect.MAKE_PAIR,
    Phase.MADE,
    words=_MADE_WORDS,
    cloexec="SOCK_CLOEXEC",
)


class AddressArguments(Arguments):
    """bind(2), connect(2), getsockname(2); address: None if it could not be read."""

    fd: I32
    address: Address | None


def _with_address(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    return {"fd": args[0], "address": decode_address(data)}


def _printed_with_address(a: list[str], _: int | None) -> dict[str, object]:
    return {"fd": int(a[0]), "address": printed.printed_address(a[1])}


def _address_text(args: dict[str, object]) -> str:
    return f"{args['fd']}, {or_unknown(args.get('address'))}"


BIND = RecordedCall(
    "bind",
    AddressArguments,
    (Source("EA_BIND", 3, _with_address, {"bind": Numbers(49, 200)}, words=1),),
    _address_text,
    {"bind": _printed_with_address},
    Effect.BIND,
    Phase.MADE,
    before_accept=True,
)

CONNECT = RecordedCall(
    "connect",
    AddressArguments,
    (Source("EA_CONNECT", 4, _with_address, {"connect": Numbers(42, 203)}, words=1),),
    _address_text,
    {"connect": _printed_with_address},
    Effect.CONNECT,
    Phase.MADE,
)

GETSOCKNAME = RecordedCall(
    "getsockname",
    AddressArguments,
    (Source("EA_GETSOCKNAME", 8, _with_address, {"getsockname": Numbers(51, 204)}, words=1),),
    _address_text,
    {"getsockname": _printed_with_address},
    Effect.LEARN_ADDRESS,
    Phase.MADE,
)


class ListenArguments(Arguments):
    """listen(2).

    backlog: as passed.
    sk: the kernel's own address of a socket of TCP that this call put into LISTEN; absent from
        older files, which have a `tcp_state` for it.
    """

    fd: I32
    backlog: I32 | None
    sk: NotRequired[Hex]


def _listen(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    made: dict[str, object] = {"fd": args[0], "backlog": args[1]}
    address = two_words(args[4], args[5])
    if address:
        made["sk"] = hex(address)
    return made


LISTEN = RecordedCall(
    "listen",
    ListenArguments,
    (Source("EA_LISTEN", 5, _listen, {"listen": Numbers(50, 201)}),),
    lambda a: f"{a['fd']}, {or_unknown(a['backlog'])}",
    {"listen": lambda a, _: {"fd": int(a[0]), "backlog": int(a[1])}},
    Effect.LISTEN,
    Phase.LISTENING,
    unasked=frozenset({"truncated", "sk"}),
    before_accept=True,
)


class AcceptArguments(Arguments):
    """accept(2); address: the peer's, or None."""

    fd: I32
    address: NotRequired[Address | None]
    flags: NotRequired[Flags]


def _accept(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    return {"fd": args[0], "address": decode_address(data), "flags": flag_names("SOCK", args[3])}


def _printed_accept(a: list[str], _: int | None) -> dict[str, object]:
    flags = printed.flags_of(a[3], printed.SOCK) if len(a) > 3 else []
    return {"fd": int(a[0]), "address": printed.printed_address(a[1]), "flags": flags}


ACCEPT = RecordedCall(
    "accept",
    AcceptArguments,
    (Source("EA_ACCEPT", 6, _accept, {"accept": Numbers(43, 202)}, 4, pointers=(1, 3)),),
    _address_text,
    {"accept": _printed_accept},
    Effect.ACCEPT,
)

ACCEPT4 = RecordedCall(
    "accept4",
    AcceptArguments,
    (Source("EA_ACCEPT4", 7, _accept, {"accept4": Numbers(288, 242)}, 4, pointers=(1, 3)),),
    _address_text,
    {"accept4": _printed_accept},
    Effect.ACCEPT,
    cloexec="SOCK_CLOEXEC",
)


class OptionArguments(Arguments):
    """setsockopt(2): level `SOL_SOCKET`, name `SO_REUSEPORT`, value: see `option_values`."""

    fd: I32
    level: Name
    name: Name
    length: I32
    value: OptionValue


def _setsockopt(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    level, length = level_name(args[1]), args[3]
    name = option_name(level, args[2])
    return {
        "fd": args[0],
        "level": level,
        "name": name,
        "length": length,
        "value": decode_option_value(name, length, (args[4], args[5]), data),
    }


SETSOCKOPT = RecordedCall(
    "setsockopt",
    OptionArguments,
    (Source("EA_SETSOCKOPT", 9, _setsockopt, {"setsockopt": Numbers(54, 208)}),),
    lambda a: f"{a['fd']}, {a['level']}, {a['name']}, {value_text(a['value'])}",
    {"setsockopt": lambda a, _: printed.option_arguments(a)},
    Effect.SET_OPTION,
    words={"level": tuple(LEVELS.values()), "name": OPTION_NAMES},
)

_HOW = {0: "SHUT_RD", 1: "SHUT_WR", 2: "SHUT_RDWR"}


class ShutdownArguments(Arguments):
    """shutdown(2): how `SHUT_RDWR`."""

    fd: I32
    how: Name


def _printed_shutdown(a: list[str], _: int | None) -> dict[str, object]:
    return {"fd": int(a[0]), "how": a[1] if a[1].startswith("SHUT_") else printed.number_of(a[1])}


SHUTDOWN = RecordedCall(
    "shutdown",
    ShutdownArguments,
    (
        Source(
            "EA_SHUTDOWN",
            10,
            lambda a, _d, _r: {"fd": a[0], "how": _HOW.get(a[1], a[1])},
            {"shutdown": Numbers(48, 210)},
        ),
    ),
    None,
    {"shutdown": _printed_shutdown},
    Effect.SHUT_DOWN,
    Phase.CLOSING,
    words={"how": tuple(_HOW.values())},
)

ROWS: tuple[RecordedCall[Any], ...] = (
    SOCKET,
    SOCKETPAIR,
    BIND,
    CONNECT,
    GETSOCKNAME,
    LISTEN,
    ACCEPT,
    ACCEPT4,
    SETSOCKOPT,
    SHUTDOWN,
)
