"""What the probe is made of: its C code as one text, and the numbers of this machine's calls.

arm64 has no `dup2`, `epoll_create`, `unlink`, `rename`, `chmod`, `fork` or `vfork`; its C library
makes the newer calls instead.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from envoyassert.calls import LIFECYCLE, NOTED, SOURCES
from envoyassert.calls.hidden import OTHER_TABLE
from envoyassert.calls.row import Numbers
from envoyassert.errors import ProbeUnavailableError
from envoyassert.wire import static_asserts, type_enum

MAIN = "envoyassert.bpf.c"
_INCLUDE = re.compile(r'#include "([\w.]+)"\s*')


def source_dir() -> Path:
    """Return the absolute directory of the C code: in an installed package, or in the checkout.

    Raises:
        ProbeUnavailableError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "_bpf", package.parent / "bpf"):
        if (candidate / MAIN).is_file():
            return candidate
    raise ProbeUnavailableError(
        f"the probe's source {MAIN} is missing from this installation",
        "install envoyassert again, or run it from a complete checkout",
    )


def kernel_headers_dir() -> Path:
    """Return the directory of the stub headers that stand in for kernel headers."""
    return source_dir() / "stub"


def program_text() -> str:
    """Return the whole program.

    bcc rewrites map operations in the main file alone, so our own includes are put in place; line
    markers keep the compiler's messages about the original files. The types of records come before
    the layout, its assertions behind it.
    """
    directory = source_dir()
    parts: list[str] = []
    for number, line in enumerate((directory / MAIN).read_text().splitlines(keepends=True), 1):
        found = _INCLUDE.fullmatch(line)
        if not found:
            parts.append(line)
            continue
        name = found.group(1)
        if name == "events.h":
            parts.append(f'#line 1 "calls"\n{type_enum()}')
        parts.append(f'#line 1 "{name}"\n{(directory / name).read_text()}')
        if name == "events.h":
            parts.append(f'#line 1 "wire.py"\n{static_asserts()}')
        parts.append(f'#line {number + 1} "{MAIN}"\n')
    return "".join(parts)


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
