"""Calls that copy, pass on or close descriptors."""

from __future__ import annotations

import struct
from typing import Any, Final

from typing_extensions import NotRequired

from envoyassert.calls.payload import UNSIGNED, Args, flag_names
from envoyassert.calls.row import (
    Arguments,
    Effect,
    Hides,
    Numbers,
    Phase,
    RecordedCall,
    Source,
    or_unknown,
)
from envoyassert.events import Event
from envoyassert.names import FCNTL_DUPS
from envoyassert.ranges import I32, I64, U32, Flags, Name
from envoyassert.strace import values as printed

#: Why a trace does not follow descriptors after a call, see `RecordedCall.hides`.
OTHER_TABLE_OF_FILES: Final = "files"
_CLOSE_RANGE_UNSHARE = 2  # close_range(2)


class FdArguments(Arguments):
    """dup(2), close(2)."""

    fd: I32


def _fd(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {"fd": args[0]}


DUP = RecordedCall(
    "dup",
    FdArguments,
    (Source("EA_DUP", 11, _fd, {"dup": Numbers(32, 23)}, words=1),),
    None,
    {"dup": lambda a, _: {"fd": int(a[0])}},
    Effect.COPY,
    Phase.LISTENING,
)


class CopyArguments(Arguments):
    """dup2(2), dup3(2): flags [`O_CLOEXEC`]."""

    fd: I32
    newfd: I32
    flags: Flags


def _copied(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {"fd": args[0], "newfd": args[1], "flags": flag_names("O", args[2])}


def _printed_copy(a: list[str], _: int | None) -> dict[str, object]:
    flags = printed.flags_of(a[2], ("O_CLOEXEC",)) if len(a) > 2 else []
    return {"fd": int(a[0]), "newfd": int(a[1]), "flags": flags}


DUP2 = RecordedCall(
    "dup2",
    CopyArguments,
    (
        Source(
            "EA_DUP2",
            12,
            lambda a, _d, _r: {"fd": a[0], "newfd": a[1], "flags": []},
            {"dup2": Numbers(33, None)},
        ),
    ),
    lambda a: f"{a['fd']}, {a['newfd']}",
    {"dup2": _printed_copy},
    Effect.COPY,
    Phase.LISTENING,
)

DUP3 = RecordedCall(
    "dup3",
    CopyArguments,
    (Source("EA_DUP3", 13, _copied, {"dup3": Numbers(292, 24)}),),
    lambda a: f"{a['fd']}, {a['newfd']}, {or_unknown(a.get('flags'))}",
    {"dup3": _printed_copy},
    Effect.COPY,
    Phase.LISTENING,
    cloexec="O_CLOEXEC",
)


class FcntlArguments(Arguments):
    """fcntl(2) with cmd `F_DUPFD` or `F_DUPFD_CLOEXEC`: no other is recorded."""

    fd: I32
    cmd: Name
    arg: NotRequired[I64]


def _fcntl(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {"fd": args[0], "cmd": FCNTL_DUPS.get(args[1], args[1]), "arg": args[2]}


def _printed_fcntl(a: list[str], _: int | None) -> dict[str, object] | None:
    if not a[1].startswith("F_DUPFD"):
        return None
    return {"fd": int(a[0]), "cmd": a[1], "arg": printed.number_of(a[2])}


FCNTL = RecordedCall(
    "fcntl",
    FcntlArguments,
    (Source("EA_FCNTL", 14, _fcntl, {"fcntl": Numbers(72, 25)}),),
    lambda a: f"{a['fd']}, {a['cmd']}, {or_unknown(a.get('arg'))}",
    {"fcntl": _printed_fcntl},
    Effect.COPY,
    Phase.LISTENING,
    words={"cmd": tuple(FCNTL_DUPS.values())},
)

CLOSE = RecordedCall(
    "close",
    FdArguments,
    (Source("EA_CLOSE", 15, _fd, {"close": Numbers(3, 57)}, words=1),),
    None,
    {"close": lambda a, _: {"fd": int(a[0])}},
    Effect.CLOSE,
    Phase.CLOSING,
    # From its entry on, the number may be given out again.
    timed_at_entry=True,
)


class CloseRangeArguments(Arguments):
    """close_range(2)."""

    first: U32
    last: U32
    flags: U32


def _close_range(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    return {
        "first": args[0] & UNSIGNED,
        "last": args[1] & UNSIGNED,
        "flags": args[2] & UNSIGNED,
    }


def _printed_close_range(a: list[str], _: int | None) -> dict[str, object]:
    return {
        "first": printed.number_of(a[0]) & UNSIGNED,
        "last": printed.number_of(a[1]) & UNSIGNED,
        "flags": printed.mask_of(a[2], {"CLOSE_RANGE_UNSHARE": 2, "CLOSE_RANGE_CLOEXEC": 4}),
    }


def _hidden_by_close_range(event: Event) -> Hides:
    unshared = event.ok and CLOSE_RANGE.of(event)["flags"] & _CLOSE_RANGE_UNSHARE
    return OTHER_TABLE_OF_FILES if unshared else ""


CLOSE_RANGE = RecordedCall(
    "close_range",
    CloseRangeArguments,
    (Source("EA_CLOSE_RANGE", 16, _close_range, {"close_range": Numbers.everywhere(436)}),),
    None,
    {"close_range": _printed_close_range},
    Effect.CLOSE_RANGE,
    Phase.CLOSING,
    hides=_hidden_by_close_range,
)


class RightsArguments(Arguments):
    """sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2): recorded only with SCM_RIGHTS.

    fds: the descriptors that travel with the message; of several messages those of the first.
    truncated: there may be more, in this message or in a later one.
    """

    fd: I32
    fds: list[I32]


def _rights(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    count = len(data) // 4
    fds = list(struct.unpack_from(f"={count}i", data))
    return {"fd": args[0], "fds": fds, "truncated": False}


def _rights_text(args: dict[str, Any]) -> str:
    more = ", …" if args.get("truncated") else ""
    fds = ", ".join(str(fd) for fd in args.get("fds") or [])
    return f"{args['fd']}, SCM_RIGHTS [{fds}{more}]"


def _message(
    name: str, number: int, syscall: Numbers, effect: Effect
) -> RecordedCall[RightsArguments]:
    """Return the row of a call that sends or receives messages.

    Args:
        name: of the call.
        number: of its type of record.
        syscall: its own numbers.
        effect: whether it sends or receives.
    """
    return RecordedCall(
        name,
        RightsArguments,
        (Source(f"EA_{name.upper()}", number, _rights, {name: syscall}),),
        _rights_text,
        {name: lambda a, _: printed.rights_arguments(a)},
        effect,
        Phase.LISTENING,
        unasked=frozenset(),
    )


SENDMSG = _message("sendmsg", 21, Numbers(46, 211), Effect.SEND)
SENDMMSG = _message("sendmmsg", 46, Numbers(307, 269), Effect.SEND)
RECVMSG = _message("recvmsg", 22, Numbers(47, 212), Effect.RECEIVE)
RECVMMSG = _message("recvmmsg", 47, Numbers(299, 243), Effect.RECEIVE)

ROWS: tuple[RecordedCall[Any], ...] = (
    DUP,
    DUP2,
    DUP3,
    FCNTL,
    CLOSE,
    CLOSE_RANGE,
    SENDMSG,
    RECVMSG,
    SENDMMSG,
    RECVMMSG,
)
