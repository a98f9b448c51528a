"""What our bpftrace program prints and the reader of its log expects; docs/bpftrace.md has it all.

The program prints a call with its number and plain arguments; names and decoded values come from
the rows of `envoyassert.calls` when the log is read, as they do for a record of the probe.
"""

from __future__ import annotations

from collections.abc import Mapping

from envoyassert.calls import LIFECYCLE, NOTED, SOURCES
from envoyassert.calls.row import Numbers

#: First word of the first line; a log of another number has another form.
FORMAT = "envoyassert-bpftrace/1"
#: The machines whose calls have numbers here: as `uname -m` prints them.
MACHINES = ("x86_64", "aarch64")

#: How many words of 8 bytes a `data` line has, and how many such lines an argument may have.
WORDS, CHUNKS = 16, 4
#: The first `data` line of the second path of a call that has two.
SECOND = CHUNKS
#: Programs of the script that run at tracepoints: each must say what the kernel skipped of it.
PROGRAMS = 9

#: Waits on an epoll: recorded when they begin, so that the rows have no number of theirs.
WAITS: Mapping[str, Numbers] = {
    "epoll_wait": Numbers(232, None),
    "epoll_pwait": Numbers(281, 22),
    "epoll_pwait2": Numbers.everywhere(441),
}


def recorded(machine: str) -> dict[int, str]:
    """Return the constant of `envoyassert.calls.TYPES` per number of a call recorded at its exit.

    Args:
        machine: one of MACHINES.
    """
    found = {source.constant: source.syscalls for source, _ in SOURCES.values()}
    found |= {constant: syscalls for constant, (_, syscalls) in NOTED.items()}
    return {
        number: constant
        for constant, syscalls in found.items()
        for number in numbers_of(syscalls, machine)
    }


def numbers_of(syscalls: Mapping[str, Numbers], machine: str) -> list[int]:
    """Return the numbers that calls have on a machine."""
    numbers = (getattr(entry, machine) for entry in syscalls.values())
    return [number for number in numbers if number is not None]


def number_of(name: str, machine: str) -> int | None:
    """Return the number of a call that begins or ends a task, None where there is none."""
    number: int | None = getattr(LIFECYCLE[name], machine)
    return number
