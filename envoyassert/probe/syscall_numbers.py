"""Numbers of system calls on this machine: what the probe does with each.

arm64 has no `dup2`, `epoll_create`, `unlink`, `rename`, `chmod`, `fork` or `vfork`; its C library
makes the newer calls instead.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import fields

from envoyassert.calls import LIFECYCLE, NOTED, SOURCES
from envoyassert.calls.hidden import OTHER_TABLE
from envoyassert.calls.row import Numbers
from envoyassert.errors import ProbeUnavailableError

#: In place of one that the architecture lacks: no call has it.
_NO_CALL = 0xFFFF
#: What the program takes for the number of each call that is made by the numbers of another table.
#: No call has it; the program knows 512 numbers (EA_MAX_SYSCALL of bpf/syscalls.h).
_OTHER_TABLE = 511

_ARCHITECTURES = tuple(column.name for column in fields(Numbers))


def recorded_calls() -> dict[int, int]:
    """Return the record type (`enum ea_type`) per number of a recorded call.

    Raises:
        ProbeUnavailableError: unknown architecture.
    """
    machine = _machine()
    recorded = {_OTHER_TABLE: OTHER_TABLE.sources[0].number}
    for kind, syscalls in _by_type():
        for numbers in syscalls.values():
            number = getattr(numbers, machine)
            if number is not None:
                recorded[number] = kind
    return recorded


def named_calls() -> dict[str, int]:
    """Return the macros `EA_NR_<CALL>` that the program is compiled with.

    Raises:
        ProbeUnavailableError: unknown architecture.
    """
    machine = _machine()
    named = {call: getattr(numbers, machine) for call, numbers in LIFECYCLE.items()}
    macros = {
        f"EA_NR_{call.upper()}": _NO_CALL if number is None else number
        for call, number in named.items()
    }
    return {**macros, "EA_NR_OTHER_TABLE": _OTHER_TABLE}


def _by_type() -> Iterator[tuple[int, Mapping[str, Numbers]]]:
    for kind, (source, _) in SOURCES.items():
        yield kind, source.syscalls
    yield from NOTED.values()


def _machine() -> str:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise ProbeUnavailableError(
            f"the probe does not know the system calls of {machine}",
            "run on x86-64 or arm64",
        )
    return machine
