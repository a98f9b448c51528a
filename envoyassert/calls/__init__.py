"""The recorded calls: one row for each, by what it is about.

`sockets`, `descriptors`, `epoll`, `files`, `tasks` and `hidden` (the tripwires) have the rows;
`row` says what is in one. A further call is a row here, and what the program reads for it in
`bpf/syscalls.h`, if it needs more than the call's first three arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoyassert.calls import descriptors, epoll, files, hidden, sockets, tasks
from envoyassert.calls.row import Effect, Numbers, RecordedCall, Source

#: Every recorded call by the name that its events have.
CALLS: Mapping[str, RecordedCall[Any]] = {
    row.name: row
    for family in (sockets, descriptors, epoll, files, tasks, hidden)
    for row in family.ROWS
}

#: Every type of record by its number, with the call that it comes from.
SOURCES: Mapping[int, tuple[Source, RecordedCall[Any]]] = {
    source.number: (source, row) for row in CALLS.values() for source in row.sources
}

#: Calls that have no record: the path that was opened is said by the setns that uses it.
NOTED: Mapping[str, tuple[int, Mapping[str, Numbers]]] = {
    "EA_OPEN": (38, {"open": Numbers(2, None)}),
    "EA_OPENAT": (39, {"openat": Numbers(257, 56), "openat2": Numbers.everywhere(437)}),
}

#: Calls that begin and end tasks: they are reported by tracepoints, not recorded at their exit.
LIFECYCLE: Mapping[str, Numbers] = {
    "clone": Numbers(56, 220),
    "clone3": Numbers.everywhere(435),
    "fork": Numbers(57, None),
    "vfork": Numbers(58, None),
    "exit": Numbers(60, 93),
    "exit_group": Numbers(231, 94),
}

#: Every constant of `enum ea_type` with its number.
TYPES: Mapping[str, int] = dict(
    sorted(
        (
            *((source.constant, number) for number, (source, _) in SOURCES.items()),
            *((constant, number) for constant, (number, _) in NOTED.items()),
        ),
        key=lambda item: item[1],
    )
)

#: Facts from the kernel's tracepoints, as opposed to system calls.
KERNEL_FACTS = frozenset(row.name for row in CALLS.values() if row.is_fact)
#: Calls that are recorded when they begin, and have no result.
AT_ENTRY = frozenset(row.name for row in CALLS.values() if row.at_entry)
#: Events whose time is that of the beginning.
TIMED_AT_ENTRY = AT_ENTRY | {row.name for row in CALLS.values() if row.timed_at_entry}


def with_effect(*effects: Effect) -> frozenset[str]:
    """Return the names of the calls with which the fold does one of these things."""
    return frozenset(row.name for row in CALLS.values() if row.effect in effects)


def asked_arguments(row: RecordedCall[Any]) -> tuple[str, ...]:
    """Return the arguments that a scenario may ask for."""
    return tuple(name for name in _members(row.arguments) if name not in row.unasked)


def _members(arguments: type) -> list[str]:
    """Return the members of a TypedDict, those of the type that it extends behind its own."""
    own = list(arguments.__annotations__)
    return [name for name in own if name != "truncated"] + ["truncated"]
