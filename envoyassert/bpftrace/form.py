"""What our bpftrace program prints, and its lines as numbers; docs/bpftrace.md has it all.

The program prints a call with its number and plain arguments; names and decoded values come from
the rows of `envoyassert.calls` when the log is read, as they do for a record of the probe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from envoyassert.calls import LIFECYCLE, NOTED, SOURCES
from envoyassert.calls.row import Numbers
from envoyassert.errors import TraceFileError

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


def printed_number_of(name: str, machine: str) -> int | None:
    """Return the number of a call that begins or ends a task, None where there is none."""
    number: int | None = getattr(LIFECYCLE[name], machine)
    return number


REMEDY = "pass the log as bpftrace printed it; lines may be left out, but not changed"

_NATURAL, _NUMBER, _HEX = r"\d{1,20}", r"-?\d{1,20}", r"[0-9a-f]{1,16}"
_HEAD = {"ts": _NATURAL, "cpu": _NATURAL, "seq": _NATURAL, "pid": _NATURAL, "tid": _NATURAL}
#: The members of each kind of line behind its first word, with their forms and in order; a text is
#: the rest of a line.
MEMBERS: dict[str, dict[str, str]] = {
    "call": {
        **_HEAD,
        "nr": _NATURAL,
        "ret": _NUMBER,
        **dict.fromkeys(("a0", "a1", "a2", "a3", "a4", "value"), _HEX),
        "from": "[0-7]",
        "size": _NATURAL,
    },
    "data": {
        "cpu": _NATURAL,
        "seq": _NATURAL,
        "chunk": f"[0-{SECOND}]",
        **{f"w{index}": _HEX for index in range(WORDS)},
    },
    "wait": {**_HEAD, "nr": _NATURAL, "epfd": _NUMBER},
    "exec": {**_HEAD, "path": ".*"},
    "fork": {**_HEAD, "child": _NATURAL, "flags": _NUMBER},
    "exit": {**_HEAD, "status": _NUMBER},
    "signal": {**_HEAD, "number": _NATURAL},
    "rename": {**_HEAD, "renamed": _NATURAL, "name": ".*"},
    "armed": {"ts": _NATURAL},
    "end": {"ts": _NATURAL},
}
_TEXTS = ("path", "name")
_HEXADECIMAL = frozenset(
    name for kind in MEMBERS.values() for name, pattern in kind.items() if pattern is _HEX
)
_WORD = re.compile(r"\S+")
_HEADER = re.compile(rf"{FORMAT} ({'|'.join(MACHINES)}) pids (-|\d{{1,10}}(?: \d{{1,10}})*)$")
_SKIPPED = re.compile(r"skipped (?:(end)|(\d{1,20}) (\d{1,3}))$")
_TOTAL = re.compile(r"@(seq|count)\[(\d{1,20})\]: (\d{1,20})$")
#: What /proc says of a descriptor of bpftrace's, see fdinfo in proc(5).
_DESCRIPTOR = re.compile(r"[a-z][a-z_-]{0,40}:\s.{0,200}$")
#: What bpftrace itself says: of losses, which the numbers of the lines show as well.
_SILENT = re.compile(
    r"(Attaching|Attached) \d{1,20} probes?(\.\.\.)?$|Lost \d{1,20} events$|\^C$|$"
)
#: Of what is wrong with a line, so many characters are shown.
_SHOWN = 60


class PrintedLine(NamedTuple):
    """A line.

    Args:
        kind: `call`, `data`, …; `header`, `skipped`, `total`, `descriptor`, or "" for bpftrace's
            own.
        numbers: by their names.
        text: what is no number: a path, a name, a machine.
        number: of the line, from 1.
    """

    kind: str
    numbers: dict[str, int]
    text: str = ""
    number: int = 0


def error_at(path: str, number: int, column: int, message: str) -> TraceFileError:
    """Return the error for a place in a log."""
    return TraceFileError(f"{path}:{number}:{column}: error: {message}", REMEDY)


def is_header(line: str) -> bool:
    """Whether a line is the first of a log of our program, of this form or of another."""
    return line.startswith(FORMAT.rpartition("/")[0] + "/")


def read_printed_line(text: str, path: str, number: int) -> PrintedLine:
    """Return what a line says.

    Args:
        text: the line without its end.
        path: the log, for messages.
        number: of the line, from 1.

    Raises:
        TraceFileError: our program prints no such line; with the column where it differs.
    """
    if _SILENT.match(text):
        return PrintedLine("", {}, "", number)
    if is_header(text):
        return _header(text, path, number)
    if found := _SKIPPED.match(text):
        numbers = {} if found[1] else {"ts": int(found[2]), "programs": int(found[3])}
        return PrintedLine("skipped", numbers, "", number)
    if found := _TOTAL.match(text):
        return PrintedLine(
            "total", {"key": int(found[2]), "value": int(found[3])}, found[1], number
        )
    if _DESCRIPTOR.match(text):
        return PrintedLine("descriptor", {}, text, number)
    kind = text.partition(" ")[0]
    if kind not in MEMBERS:
        raise error_at(path, number, 1, f"not a line of a log of {FORMAT}: {text[:_SHOWN]!r}")
    return _fields(kind, text, path, number)


def _header(text: str, path: str, number: int) -> PrintedLine:
    found = _HEADER.match(text)
    if found is None:
        raise error_at(
            path, number, 1, f"not the beginning of a log of {FORMAT}: {text[:_SHOWN]!r}"
        )
    return PrintedLine("header", {"pids": 0 if found[2] == "-" else 1}, found[1], number)


def _fields(kind: str, text: str, path: str, number: int) -> PrintedLine:
    position = len(kind)
    numbers: dict[str, int] = {}
    rest = ""
    for name, pattern in MEMBERS[kind].items():
        if name in _TEXTS:
            rest, position = text[position + 1 :], len(text)
            break
        word = _WORD.match(text, position + 1)
        if word is None or not re.fullmatch(pattern, word[0], re.ASCII):
            seen = "the end of the line" if word is None else repr(word[0][:_SHOWN])
            raise error_at(path, number, position + 2, f"`{name}` of a `{kind}` line is {seen}")
        numbers[name] = int(word[0], 16 if name in _HEXADECIMAL else 10)
        position = word.end()
    if text[position:]:
        raise error_at(
            path,
            number,
            position + 1,
            f"a `{kind}` line goes on behind its end: {text[position : position + _SHOWN]!r}",
        )
    return PrintedLine(kind, numbers, rest, number)
