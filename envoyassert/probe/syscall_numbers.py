"""Numbers of the recorded system calls per architecture, and what the probe does with each.

Sources: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
arm64 has no `dup2`, `epoll_create`, `unlink`, `rename`, `chmod`, `fork` or `vfork`; its C library
makes the newer calls instead. The arm64 column has not been run on such a machine.
"""

from __future__ import annotations

import platform

from envoyassert.errors import ProbeUnavailableError
from envoyassert.wire import NUMBERS

_X86_64 = {
    "open": 2,
    "close": 3,
    "dup": 32,
    "dup2": 33,
    "socket": 41,
    "connect": 42,
    "accept": 43,
    "sendmsg": 46,
    "recvmsg": 47,
    "shutdown": 48,
    "bind": 49,
    "listen": 50,
    "getsockname": 51,
    "socketpair": 53,
    "setsockopt": 54,
    "clone": 56,
    "fork": 57,
    "vfork": 58,
    "exit": 60,
    "fcntl": 72,
    "rename": 82,
    "unlink": 87,
    "chmod": 90,
    "fchmod": 91,
    "prctl": 157,
    "epoll_create": 213,
    "exit_group": 231,
    "epoll_ctl": 233,
    "openat": 257,
    "unlinkat": 263,
    "renameat": 264,
    "fchmodat": 268,
    "unshare": 272,
    "accept4": 288,
    "epoll_create1": 291,
    "dup3": 292,
    "sendmmsg": 307,
    "setns": 308,
    "renameat2": 316,
    "seccomp": 317,
}

_ARM64 = {
    "epoll_create1": 20,
    "epoll_ctl": 21,
    "dup": 23,
    "dup3": 24,
    "fcntl": 25,
    "unlinkat": 35,
    "renameat": 38,
    "fchmod": 52,
    "fchmodat": 53,
    "openat": 56,
    "close": 57,
    "exit": 93,
    "exit_group": 94,
    "unshare": 97,
    "socket": 198,
    "socketpair": 199,
    "bind": 200,
    "listen": 201,
    "accept": 202,
    "connect": 203,
    "getsockname": 204,
    "setsockopt": 208,
    "shutdown": 210,
    "sendmsg": 211,
    "recvmsg": 212,
    "clone": 220,
    "accept4": 242,
    "prctl": 167,
    "setns": 268,
    "sendmmsg": 269,
    "renameat2": 276,
    "seccomp": 277,
}

#: Since Linux 5.0 a new call has one number everywhere.
_COMMON = {
    "io_uring_setup": 425,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "fchmodat2": 452,
}

_TABLES = {"x86_64": _X86_64 | _COMMON, "aarch64": _ARM64 | _COMMON}

#: Calls whose number the program itself needs; absent ones get a number that no call has.
_NAMED = ("clone", "clone3", "fork", "vfork", "exit", "exit_group")
_NO_CALL = 0xFFFF
#: What the program takes for the number of each call that is made by the numbers of another table.
#: No call has it; the program knows 512 numbers (EA_MAX_SYSCALL of bpf/syscalls.h).
_OTHER_TABLE = 511

_ALIASES = {"fchmodat2": "fchmodat", "openat2": "openat", "rename": "file_rename"}


def _table() -> dict[str, int]:
    machine = platform.machine()
    table = _TABLES.get(machine)
    if table is None:
        raise ProbeUnavailableError(
            f"the probe does not know the system calls of {machine}",
            "run on x86-64 or arm64",
        )
    return table


def recorded_calls() -> dict[int, int]:
    """Return the record type (`enum ea_type`) per number of a recorded call.

    Raises:
        ProbeUnavailableError: unknown architecture.
    """
    table = _table()
    recorded = {_OTHER_TABLE: NUMBERS["EA_OTHER_TABLE"]}
    for call, number in table.items():
        # Those the program names itself are told by tracepoints, not by their exit.
        if call not in _NAMED:
            recorded[number] = NUMBERS[f"EA_{_ALIASES.get(call, call).upper()}"]
    return recorded


def named_calls() -> dict[str, int]:
    """Return the macros `EA_NR_<CALL>` that the program is compiled with.

    Raises:
        ProbeUnavailableError: unknown architecture.
    """
    table = _table()
    named = {f"EA_NR_{call.upper()}": table.get(call, _NO_CALL) for call in _NAMED}
    return {**named, "EA_NR_OTHER_TABLE": _OTHER_TABLE}
