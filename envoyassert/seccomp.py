"""What a seccomp filter answers: the actions that its program can return (seccomp(2)).

A filter is a classic packet filter (linux/filter.h) over a call's number and arguments. With most
of its answers the call is what it says: it was made, it failed, or its caller is gone. With the
others a call may seem to succeed that the kernel never made.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from envoyassert.names import errno_name

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
