"""Tripwires: calls after which a trace does not show all that happens to sockets."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from typing import Any

from envoyassert.calls.payload import Args
from envoyassert.calls.row import Arguments, Hides, Numbers, RecordedCall, Source
from envoyassert.events import Event
from envoyassert.names import errno_name
from envoyassert.ranges import I32
from envoyassert.strace import values as printed

#: What marks a number as one of x32 (arch/x86/include/uapi/asm/unistd.h of Linux).
_X32_BIT = 1 << 30


class RingArguments(Arguments):
    """io_uring_setup(2)."""


def _hidden_from_probe(_event: Event) -> Hides:
    return "unseen"


IO_URING_SETUP = RecordedCall(
    "io_uring_setup",
    RingArguments,
    (
        Source(
            "EA_IO_URING_SETUP",
            30,
            lambda _a, _d, _r: {},
            {"io_uring_setup": Numbers.everywhere(425)},
        ),
    ),
    None,
    {"io_uring_setup": lambda _a, _: {}},
    hides=_hidden_from_probe,
)


class PidfdArguments(Arguments):
    """pidfd_getfd(2); fd: the descriptor in the other process."""

    fd: I32


PIDFD_GETFD = RecordedCall(
    "pidfd_getfd",
    PidfdArguments,
    (
        Source(
            "EA_PIDFD_GETFD",
            31,
            lambda a, _d, _r: {"fd": a[1]},
            {"pidfd_getfd": Numbers.everywhere(438)},
        ),
    ),
    None,
    {"pidfd_getfd": lambda a, _: {"fd": int(a[1])}},
    hides=_hidden_from_probe,
)


class TableArguments(Arguments):
    """The first call of a process by the numbers of another table, or the first unknown one.

    table: `32-bit` or `x32`.
    number: there.
    """

    table: str
    number: I32


def _other_table(args: Args, _data: bytes, _ret: int) -> dict[str, object]:
    table = "x32" if args[0] & _X32_BIT else "32-bit"
    return {"table": table, "number": args[0] & ~_X32_BIT}


def _hidden_by_table(event: Event) -> Hides:
    if event.errno == "ENOSYS":
        return ""
    return "x32" if OTHER_TABLE.of(event)["table"] == "x32" else "32-bit"


OTHER_TABLE = RecordedCall(
    "other_table",
    TableArguments,
    (Source("EA_OTHER_TABLE", 43, _other_table),),
    lambda a: f"{a['table']} number {a['number']}",
    # Of programs of 32 bits, and not distinguished further; strace knows their other calls by name.
    {"socketcall": lambda _a, _: {"table": "32-bit", "number": 102}},
    hides=_hidden_by_table,
)


class FilterArguments(Arguments):
    """seccomp(2), and prctl(2) with PR_SET_SECCOMP.

    answers: that the filter can give, [`ALLOW`, `ERRNO EPERM`]; None if they are not known.
    """

    answers: list[str] | None


def _filter_set(args: Args, data: bytes, _ret: int) -> dict[str, object]:
    if args[1] == SECCOMP_MODE_STRICT:
        return {"answers": []}
    return {"answers": answers_of(data, args[4])}


def _printed_seccomp(a: list[str], _: int | None) -> dict[str, object] | None:
    if a[0] == "SECCOMP_SET_MODE_STRICT":
        return {"answers": []}
    return _printed_filter(a[2]) if a[0] == "SECCOMP_SET_MODE_FILTER" else None


def _printed_prctl(a: list[str], _: int | None) -> dict[str, object] | None:
    if a[0] != "PR_SET_SECCOMP":
        return None
    return {"answers": []} if a[1] == "SECCOMP_MODE_STRICT" else _printed_filter(a[2])


def _printed_filter(text: str) -> dict[str, object]:
    program = re.fullmatch(r"\{len=(\d+), filter=\[(.*)\]\}", text)
    if program is None:
        return {"answers": None}
    return {"answers": answers_of(printed.program_of(program[2]), int(program[1]))}


def _hidden_by_filter(event: Event) -> Hides:
    can_lie = event.ok and may_claim_success(SECCOMP.of(event)["answers"])
    return "filter" if can_lie else ""


SECCOMP = RecordedCall(
    "seccomp",
    FilterArguments,
    (
        Source("EA_SECCOMP", 44, _filter_set, {"seccomp": Numbers(317, 277)}),
        Source("EA_PRCTL", 45, _filter_set, {"prctl": Numbers(157, 167)}),
    ),
    lambda a: "?" if a["answers"] is None else "|".join(a["answers"]),
    {"seccomp": _printed_seccomp, "prctl": _printed_prctl},
    hides=_hidden_by_filter,
)

ROWS: tuple[RecordedCall[Any], ...] = (IO_URING_SETUP, PIDFD_GETFD, OTHER_TABLE, SECCOMP)


SECCOMP_MODE_STRICT = 1
_INSTRUCTION = struct.Struct("=HBBI")
_CLASS, _RETURN = 0x07, 0x06
_CONSTANT, _SOURCE = 0x00, 0x18
_ACTION, _DATA = 0xFFFF0000, 0xFFFF
_ERRNO = 0x00050000
#: linux/seccomp.h, without SECCOMP_RET_.
_ACTIONS = {
    0x80000000: "KILL_PROCESS",
    0x00000000: "KILL_THREAD",
    0x00030000: "TRAP",
    0x7FC00000: "USER_NOTIF",
    0x7FF00000: "TRACE",
    0x7FFC0000: "LOG",
    0x7FFF0000: "ALLOW",
}
_HONEST = frozenset({"KILL_PROCESS", "KILL_THREAD", "LOG", "ALLOW"})
_SUCCESS = "ERRNO 0"


def answers_of(data: bytes, length: int) -> list[str] | None:
    """Return what a filter can answer: `["ALLOW", "ERRNO EPERM"]`; None if that is not known.

    Args:
        data: its instructions, as far as they were read.
        length: how many instructions it has.
    """
    if not length or len(data) != length * _INSTRUCTION.size:
        return None
    found = set()
    for code, _, _, value in _INSTRUCTION.iter_unpack(data):
        if code & _CLASS == _RETURN:
            if code & _SOURCE != _CONSTANT:
                return None  # it is computed
            found.add(_in_words(value))
    return sorted(found)


def _in_words(value: int) -> str:
    action = value & _ACTION
    if action != _ERRNO:
        return _ACTIONS.get(action, hex(action))
    number = value & _DATA
    return f"ERRNO {errno_name(number)}" if number else _SUCCESS


def may_claim_success(answers: Collection[str] | None) -> bool:
    """Whether a filter can make a call seem to succeed that the kernel never made.

    A trap lets a signal handler choose the result (seccomp(2)), a trace or a notification another
    process.
    """
    if answers is None:
        return True
    return any(
        answer not in _HONEST and (not answer.startswith("ERRNO") or answer == _SUCCESS)
        for answer in answers
    )
