"""The lines of `strace -f --absolute-timestamps=format:unix,precision:ns --syscall-times=ns`.

A call that another thread interrupts is printed in two lines, which are put together here. A call
that is interrupted by a signal and runs again (`= ?`) is left out: it is printed again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from envoyassert.errors import EnvoyAssertError
from envoyassert.names import ERRNO_ALIASES, ERRNOS

_LINE = re.compile(r"(\d{1,10}) +(\d{1,12})\.(\d{9}) (.*)")
_CALL = re.compile(r"(\w+)\((.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_UNFINISHED = re.compile(r"<unfinished \.\.\.>(?:\) += \?)?$")
_AGAIN = re.compile(r"\) += \?(?: |$)")
_WAIT = re.compile(r"(\d+) +\d+\.\d{9} epoll_p?wait2?\((\d+),")
_RESULT = re.compile(
    r"(?P<arguments>.*)\) += (?P<ret>-?\d{1,20}|0x[0-9a-f]{1,16})(?: (?P<error>E[A-Z0-9]+))?"
    r"(?: .*)? <(?P<seconds>\d{1,12})\.(?P<ns>\d{9})>"
)
_ERROR_NUMBERS = {name: number for number, name in ERRNOS.items()}
_NS_PER_S = 1_000_000_000


class StraceLogError(EnvoyAssertError):
    """A line that strace does not print, or not with the options above."""


class PrintedCall(NamedTuple):
    """One system call.

    Args:
        tid: thread.
        entry_ns: when it began, CLOCK_MONOTONIC nanoseconds.
        return_ns: when it returned; None if it has not.
        name: `epoll_wait`.
        arguments: between the parentheses; what was printed at its beginning if it has not
            returned.
        ret: return value, negative errno on failure; None if it has not returned.
        injected: whether strace made it fail.
    """

    tid: int
    entry_ns: int
    return_ns: int | None
    name: str
    arguments: str
    ret: int | None
    injected: bool = False


class Fate(NamedTuple):
    """How a thread ended: `exited with 0`, `killed by SIGKILL`."""

    tid: int
    ts_ns: int
    text: str


class RepeatedWaits:
    """Recognises the lines of waits that say nothing new; a thread may wait 100,000 times a second.

    Only the first wait of a thread on an epoll is an event (see `envoyassert.strace.log`).
    """

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def has(self, line: str) -> bool:
        """Whether a line is a whole wait of a thread on an epoll on which it has waited already.

        Args:
            line: the next line of the log.
        """
        wait = _WAIT.match(line)
        if wait is None:
            if "epoll_create" in line:
                self._seen.clear()  # the number may be a new epoll's
            return False
        if _UNFINISHED.search(line) or _AGAIN.search(line):
            return False  # no whole one
        key = (wait[1], wait[2])
        known = key in self._seen
        self._seen.add(key)
        return known


def read_calls(
    lines: Iterable[str], problems: list[str], offset_ns: int = 0
) -> list[PrintedCall | Fate]:
    """Return calls and fates in the order of their ends; calls that have not returned last.

    Args:
        lines: whole lines.
        problems: receives the lines that are not understood.
        offset_ns: what to add to the times printed, to get those of CLOCK_MONOTONIC.
    """
    found: list[PrintedCall | Fate] = []
    begun: dict[int, tuple[int, str, str]] = {}
    for line in lines:
        try:
            item = _read(line.rstrip("\n"), begun, offset_ns)
        except StraceLogError as error:
            problems.append(str(error))
            continue
        except ValueError as error:
            problems.append(f"not a line of strace: {line[:80]}: {error}")
            continue
        if item is not None:
            found.append(item)
    found += [
        PrintedCall(tid, entry_ns, None, name, text, None)
        for tid, (entry_ns, name, text) in begun.items()
    ]
    return found


def _read(
    line: str, begun: dict[int, tuple[int, str, str]], offset_ns: int
) -> PrintedCall | Fate | None:
    """Read one line; `begun` has the beginnings of calls, by thread."""
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise StraceLogError(f"not a line of strace: {line[:80]}")
    tid = int(parts[1])
    ts_ns = int(parts[2]) * _NS_PER_S + int(parts[3]) + offset_ns
    text = parts[4]
    if text.startswith("---"):
        return None  # a signal; the end of a thread is in its fate
    if text.startswith("+++"):
        begun.pop(tid, None)
        return Fate(tid, ts_ns, text.strip("+ "))
    resumed = _RESUMED.fullmatch(text)
    if resumed is not None:
        if tid not in begun:
            raise StraceLogError(f"strace resumes what did not begin: {text[:80]}")
        ts_ns, name, start = begun.pop(tid)
        rest = start + resumed[2]
    else:
        call = _CALL.fullmatch(text)
        if call is None:
            raise StraceLogError(f"not a call: {text[:80]}")
        name, rest = call[1], call[2]
    unfinished = _UNFINISHED.search(rest)
    if unfinished:
        begun[tid] = (ts_ns, name, rest[: unfinished.start()].rstrip())
        return None
    return None if _AGAIN.search(rest) else _call(tid, ts_ns, name, rest)


def _call(tid: int, entry_ns: int, name: str, rest: str) -> PrintedCall:
    found = _RESULT.fullmatch(rest)
    if found is None:
        raise StraceLogError(f"not the end of a call: {name}({rest[-80:]}")
    ret = int(found["ret"], 0)
    if found["error"]:
        error = ERRNO_ALIASES.get(found["error"], found["error"])
        if error not in _ERROR_NUMBERS:
            raise StraceLogError(f"an unknown error: {error}")
        ret = -_ERROR_NUMBERS[error]
    lasted_ns = int(found["seconds"]) * _NS_PER_S + int(found["ns"])
    injected = "(INJECTED)" in rest[found.end("ret") :]
    return PrintedCall(tid, entry_ns, entry_ns + lasted_ns, name, found["arguments"], ret, injected)


def split_arguments(text: str) -> list[str]:
    """Return arguments by themselves: split at commas outside of brackets and quotes."""
    parts: list[str] = []
    depth, quoted, escaped, start = 0, False, False, 0
    for index, char in enumerate(text):
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    rest = text[start:].strip()
    return [*parts, rest] if rest or parts else []


def unquoted(text: str) -> bytes:
    """Return the bytes of a string that strace printed in quotes, with C's escapes.

    Raises:
        StraceLogError: it is no such string.
    """
    found = re.match(r'"((?:[^"\\]|\\.)*)"', text)
    if found is None:
        raise StraceLogError(f"not a string: {text[:80]}")
    try:
        plain = found[1].encode("latin-1", "backslashreplace").decode("unicode_escape")
        return plain.encode("latin-1")
    except UnicodeError as error:
        raise StraceLogError(f"not a string: {text[:80]}") from error


def text_of(data: bytes) -> str:
    """Return bytes as text in the way of our own events."""
    return data.decode("utf-8", "backslashreplace")
