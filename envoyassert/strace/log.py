"""A log of strace as the events of a run.

What strace does not show is put together from what it does: the process of a thread from clone's
flags, names from prctl(PR_SET_NAME) and from what is written to /proc/self/task/<tid>/comm, a
thread's end from its fate. States of TCP sockets and stacks are not in it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from envoyassert.calls import CALLS, TIMED_AT_ENTRY, with_effect
from envoyassert.calls.epoll import EPOLL_WAIT
from envoyassert.calls.row import Effect
from envoyassert.events import Event
from envoyassert.names import SIGNALS
from envoyassert.strace.lines import (
    Fate,
    PrintedCall,
    StraceLogError,
    read_calls,
    split_arguments,
    text_of,
    unquoted,
)
from envoyassert.trace_schema import check_event

_CLONES = ("clone", "clone3", "fork", "vfork")
_EXECS = ("execve", "execveat")
_OPENS = ("open", "openat", "openat2")
#: By strace's names: the calls that events have, and how their arguments are read.
_ROWS = {name: (row, parse) for row in CALLS.values() for name, parse in row.strace.items()}
#: The calls that strace must be asked for.
TRACED = (*_ROWS, *_EXECS, *_CLONES, *_OPENS, "write")
#: What a log does not have, of `envoyassert.trace.CHANNELS`.
UNOBSERVED = ("socket_states", "stacks", "durations")

_WAITS = tuple(EPOLL_WAIT.strace)
#: Those whose time is that of the entry; what is sent may arrive before the sender returns.
_EARLY = TIMED_AT_ENTRY | with_effect(Effect.SEND)
_COMM = re.compile(r"/proc/(?:self|\d+)/task/(\d+)/comm$")
_SIGNAL_NUMBERS = {name: number for number, name in SIGNALS.items()}
#: TASK_COMM_LEN of linux/sched.h, without the NUL.
_COMM_LENGTH = 15


class StraceLog(NamedTuple):
    """What a log has.

    Args:
        events: in time order, numbered from 1 as if one CPU had recorded them all.
        marked: whether an exec carried the run id.
        ended: whether all threads of the run had ended.
        problems: lines that are not understood.
        injected: those of the events that strace made fail.
    """

    events: list[Event]
    marked: bool
    ended: bool
    problems: list[str]
    injected: Sequence[Event] = ()


def parse_strace(lines: Iterable[str], mark: str = "", offset_ns: int = 0) -> StraceLog:
    """Read a log.

    Args:
        lines: whole lines.
        mark: what the environment of the exec says with which the run begins,
            `ENVOYASSERT_RUN=…`; "" for the first exec.
        offset_ns: what to add to the times printed, to get those of CLOCK_MONOTONIC.
    """
    problems: list[str] = []
    reader = _Reader(mark, problems)
    calls = read_calls(lines, problems, offset_ns)
    reader.find_families(calls)
    # A call counts when it returned; what it needs to be known (its process) was found before.
    for item in sorted(calls, key=_when):
        reader.read(item)
    reader.events.sort(key=attrgetter("ts_ns"))
    for number, event in enumerate(reader.events, 1):
        event.seq = number
    ended = bool(reader.threads) and not reader.living
    return StraceLog(reader.events, bool(reader.threads), ended, problems, reader.injected)


def arguments_of(name: str, text: str, ret: int | None) -> dict[str, Any] | None:
    """Return the arguments of a call; None if events have no such call.

    Args:
        name: strace's, of the call.
        text: what strace printed between the parentheses.
        ret: the call's result, None if it has not returned.

    Raises:
        StraceLogError: they are not understood.
    """
    if name not in _ROWS:
        return None
    try:
        return _ROWS[name][1](split_arguments(text), ret)
    except (ValueError, IndexError, KeyError, struct.error) as error:
        raise StraceLogError(f"{name}({text[:120]}): {error}") from error


def _when(item: PrintedCall | Fate) -> int:
    if isinstance(item, Fate):
        return item.ts_ns
    if item.name in _WAITS or item.name in _CLONES or item.return_ns is None:
        return item.entry_ns
    return item.return_ns


class _Reader:
    """State of reading: threads, the process of each, files that names are written to."""

    def __init__(self, mark: str, problems: list[str]) -> None:
        self.events: list[Event] = []
        self.injected: list[Event] = []
        self.threads: set[int] = set()
        self.living: set[int] = set()
        self._mark = mark
        self._problems = problems
        self._processes: dict[int, int] = {}
        self._comm_files: dict[tuple[int, int], int] = {}
        self._opened: dict[tuple[int, int], tuple[int, str]] = {}
        self._waited: set[tuple[int, int]] = set()

    def find_families(self, items: Iterable[PrintedCall | Fate]) -> None:
        """Learn the process of each thread that is made; its calls may come before clone's end."""
        made = [
            (item.entry_ns, item.tid, item.ret, "CLONE_THREAD" in item.arguments)
            for item in items
            if isinstance(item, PrintedCall) and item.name in _CLONES and item.ret and item.ret > 0
        ]
        for _, parent, child, thread in sorted(made):
            self._processes[child] = self._processes.get(parent, parent) if thread else child

    def read(self, item: PrintedCall | Fate) -> None:
        """Read one call, or the end of a thread."""
        try:
            if isinstance(item, Fate):
                self._end(item)
            elif item.name in _EXECS:
                self._exec(item)
            elif item.tid in self.threads:
                self._call(item)
        except StraceLogError as error:
            self._problems.append(str(error))
        except (ValueError, IndexError) as error:
            self._problems.append(f"not understood: {item}"[:200] + f": {error}")

    def _exec(self, call: PrintedCall) -> None:
        if call.ret != 0:
            return
        try:
            parts = split_arguments(call.arguments)
            # execveat(2): the directory comes first, the flags last.
            path, argv, environment = parts[1:4] if call.name == "execveat" else parts[:3]
            known = call.tid in self.threads
            if (
                not known
                and self._mark
                and f'"{self._mark}"' not in split_arguments(environment[1:-1])
            ):
                return
            words = [text_of(unquoted(word)) for word in split_arguments(argv[1:-1])]
            filename = text_of(unquoted(path))
        except (StraceLogError, ValueError) as error:
            self._problems.append(f"{call.name}: {error}")
            return
        if not known:
            self.threads.add(call.tid)
            self.living.add(call.tid)
        assert call.return_ns is not None
        name = PurePosixPath(filename).name[:_COMM_LENGTH]
        args = {"filename": filename, "argv": words, "name": name}
        self._add(call.return_ns, call.tid, "exec", None, args)

    def _call(self, call: PrintedCall) -> None:
        if call.name in _CLONES:
            if call.ret is not None and call.ret > 0:
                self._fork(call, call.ret)
        elif call.name in _WAITS:
            self._wait(call)
        elif call.ret is None:
            return  # pending
        elif call.name == "prctl":
            self._prctl(call)
        elif call.name in _OPENS:
            self._open(call)
        elif call.name == "write":
            self._write(call)
        else:
            self._plain(call, call.ret)

    def _plain(self, call: PrintedCall, ret: int) -> None:
        args = arguments_of(call.name, call.arguments, ret)
        if args is None:
            return
        assert call.return_ns is not None
        name = _ROWS[call.name][0].name
        ts_ns = call.entry_ns if name in _EARLY else call.return_ns
        self._add(ts_ns, call.tid, name, ret, args)
        if call.name == "setns":
            self._name_file(ts_ns, call.tid, args)
        if call.injected:
            self.injected.append(self.events[-1])
        if call.name == "close":
            self._comm_files.pop((self._process(call.tid), args["fd"]), None)
        elif call.name.startswith("epoll_create"):
            self._waited = {wait for wait in self._waited if wait[1] != ret}

    def _wait(self, call: PrintedCall) -> None:
        """Add the first wait of a thread on an epoll."""
        args = arguments_of(call.name, call.arguments, call.ret)
        assert args is not None
        if (call.tid, args["epfd"]) not in self._waited:
            self._waited.add((call.tid, args["epfd"]))
            self._add(call.entry_ns, call.tid, "epoll_wait", None, args)

    def _fork(self, call: PrintedCall, child: int) -> None:
        thread = "CLONE_THREAD" in call.arguments
        process = self._process(call.tid) if thread else child
        self.threads.add(child)
        self.living.add(child)
        args = {"child_pid": process, "child_tid": child, "thread": thread}
        shares_files = "CLONE_FILES" in call.arguments
        if shares_files is not thread:
            args["shares_files"] = shares_files
        self._add(call.entry_ns, call.tid, "fork", None, args)

    def _prctl(self, call: PrintedCall) -> None:
        parts = split_arguments(call.arguments)
        if parts[0] == "PR_SET_NAME" and call.ret == 0:
            self._rename(call, call.tid, unquoted(parts[1]))
        elif call.ret is not None:
            self._plain(call, call.ret)

    def _open(self, call: PrintedCall) -> None:
        if call.ret is None or call.ret < 0:
            return
        assert call.return_ns is not None
        place = self._process(call.tid), call.ret
        # open(2) has the path where openat(2) has the directory.
        path = text_of(unquoted(split_arguments(call.arguments)[call.name != "open"]))
        self._opened[place] = call.return_ns, path
        found = _COMM.search(path)
        if found:
            self._comm_files[place] = int(found[1])

    def _name_file(self, ts_ns: int, tid: int, args: dict[str, Any]) -> None:
        opened = self._opened.get((self._process(tid), args["fd"]))
        if opened is not None:
            args["path"], args["age_ns"] = opened[1], ts_ns - opened[0]

    def _write(self, call: PrintedCall) -> None:
        fd, text, *_ = split_arguments(call.arguments)
        tid = self._comm_files.get((self._process(call.tid), int(fd)))
        if tid is not None and call.ret is not None and call.ret > 0:
            self._rename(call, tid, unquoted(text))

    def _rename(self, call: PrintedCall, tid: int, name: bytes) -> None:
        assert call.return_ns is not None
        args = {"tid": tid, "name": text_of(name[:_COMM_LENGTH])}
        self._add(call.return_ns, call.tid, "rename", None, args)

    def _end(self, fate: Fate) -> None:
        if fate.tid not in self.living:
            return
        self.living.discard(fate.tid)
        process = self._process(fate.tid)
        last = all(self._process(tid) != process for tid in self.living)
        exited = re.match(r"exited with (\d+)", fate.text)
        killed = re.match(r"killed by (\w+)", fate.text)
        if killed and last:
            number = _SIGNAL_NUMBERS.get(killed[1], 0)
            self._add(fate.ts_ns, fate.tid, "signal", None, {"number": number})
        args: dict[str, Any] = {"status": int(exited[1]) if exited else None, "last": last}
        self._add(fate.ts_ns, fate.tid, "exit", None, args)

    def _process(self, tid: int) -> int:
        return self._processes.get(tid, tid)

    def _add(self, ts_ns: int, tid: int, name: str, ret: int | None, args: dict[str, Any]) -> None:
        event = Event(ts_ns, self._process(tid), tid, name, ret, args)
        check_event(event)
        self.events.append(event)
