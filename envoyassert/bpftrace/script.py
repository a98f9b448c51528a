"""The bpftrace program that `envoyassert bpftrace-script` prints.

It does what the probe does (`bpf/`) in the language of bpftrace 0.17 to 0.23: each call's arguments
are kept from its entry to its exit, and printed then. What differs by machine, the numbers of
calls, comes from the rows of `envoyassert.calls`.
"""

from __future__ import annotations

import re

from envoyassert.bpftrace.form import (
    CHUNKS,
    FORMAT,
    PROGRAMS,
    SECOND,
    WAITS,
    WORDS,
    numbers_of,
    printed_number_of,
    recorded,
)
from envoyassert.bpftrace.program import PROGRAM
from envoyassert.errors import EnvoyAssertError
from envoyassert.names import FCNTL_DUPS, OPTIONS
from envoyassert.option_values import FILTERS

#: TASK_COMM_LEN of linux/sched.h, and the shortest string of bpftrace; both without the NUL.
_COMM_LENGTH, _STRING_LENGTH = 15, 63
_NAME = re.compile(r"[\w./+@:,=-]+", re.ASCII)
#: Descriptors that bpftrace has beside one for each processor: maps, programs and their events.
_DESCRIPTORS = 40


class ScriptError(EnvoyAssertError):
    """A program that cannot be written in bpftrace."""


def script_text(exe: str, pids: tuple[int, ...], machine: str, processors: int) -> str:
    """Return the program.

    Args:
        exe: whose exec is looked for: the name of an executable, or with a `/` the path as it is
            given to execve; "" for none.
        pids: processes that run already and are recorded from now on.
        machine: where it is to run, one of `form.MACHINES`.
        processors: how many that machine has at most; to find what the kernel skipped.

    Raises:
        ScriptError: `exe` is too long, or has characters that bpftrace would read.
    """
    calls = recorded(machine)
    parts = {
        "FORMAT": FORMAT,
        "MACHINE": machine,
        "PIDS": " ".join(map(str, pids)) or "-",
        "CALLS": _filled(dict.fromkeys(sorted(calls), 1), "@calls"),
        "WAITS": _filled(dict.fromkeys(numbers_of(WAITS, machine), 2), "@calls"),
        "PROCESSES": "".join(f"  @marked[{pid}] = 1;\n" for pid in pids),
        "MATCH": _match(exe),
        "LINES": str(CHUNKS + 1),
        "SECOND": str(SECOND),
        "BYTES": str(WORDS * 8),
        "FORMATS": " ".join(["%llx"] * WORDS),
        "WORDS": "\n".join(_word(index) for index in range(WORDS)),
        "VALUES": ", ".join(f"$w{index}" for index in range(WORDS)),
        "PROGRAMS": str(PROGRAMS),
        "CATS": "\n".join(
            f'  cat("/proc/self/fdinfo/%d", {fd});' for fd in range(3, _DESCRIPTORS + processors)
        ),
    }
    names = {"clone": "CLONE", "clone3": "CLONE3", "fork": "FORK", "vfork": "VFORK"}
    names |= {"exit": "EXIT", "exit_group": "EXIT_GROUP"}
    parts |= {key: str(printed_number_of(name, machine) or _NO_CALL) for name, key in names.items()}
    text = PROGRAM
    for constant in re.findall(r"<<(EA_[A-Z0-9_]+)>>", text):
        parts[constant] = _is(calls, constant)
    filters = (number for number, name in OPTIONS["SOL_SOCKET"].items() if name in FILTERS)
    parts["FILTERS"] = " || ".join(f"$a2 == {number}" for number in filters)
    parts["CMD_DUPS"] = " && ".join(f"$a1 != {number}" for number in FCNTL_DUPS)
    return re.sub(r"<<([A-Z0-9_]+)>>", lambda found: parts[found[1]], text)


#: No call has it, see `envoyassert.probe.program_text`.
_NO_CALL = 0xFFFF


def _filled(values: dict[int, int], name: str) -> str:
    return "".join(f"  {name}[{key}] = {value};\n" for key, value in values.items())


def _is(calls: dict[int, str], constant: str) -> str:
    numbers = [number for number, name in calls.items() if name == constant]
    return " || ".join(f"$nr == {number}" for number in numbers or [_NO_CALL])


def _word(index: int) -> str:
    """Return what reads a word of an argument: 0 behind its end, of a text behind its NUL."""
    word = f"$w{index}"
    # What lies before the beginning is no NUL of it.
    text = f"({word} | $before)" if index == 0 else word
    return (
        f"            {word} = $more && $size > $from + {8 * index} ? "
        f"*(uint64 *)uptr($base + $from + {8 * index}) : (uint64)0;\n"
        f"            if ($text && (({text} - 0x0101010101010101) & ~{text} & 0x8080808080808080)"
        " != 0) { $more = (uint64)0; }"
    )


def _match(exe: str) -> str:
    if not exe:
        return "0"
    if not _NAME.fullmatch(exe):
        raise ScriptError(
            f"`{exe}`: a bpftrace program can look for letters, digits and ./+@:,=-_ alone",
            "name the executable by a link or a path without other characters",
        )
    if "/" not in exe:
        # The kernel cuts the name of a thread.
        return f'comm == "{exe[:_COMM_LENGTH]}"'
    if len(exe) > _STRING_LENGTH:
        raise ScriptError(
            f"`{exe}`: bpftrace compares {_STRING_LENGTH} characters of a path at most",
            "name the executable without its directory",
        )
    return f'@path[pid] == "{exe}"'
