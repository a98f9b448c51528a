"""A log of our bpftrace program as a trace.

Lines come in the order in which bpftrace read its buffers, one per CPU. Every line that is an event
has its number among those of its CPU, and the end of the log says how many there were: a line that
is not there is a lost event, whatever took it. What the kernel skipped without a number is in the
log as well, read from bpftrace's own descriptors; without it nothing is known to be whole.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from envoyassert.bpftrace.form import (
    CHUNKS,
    SECOND,
    WORDS,
    PrintedLine,
    error_at,
    read_printed_line,
    recorded,
)
from envoyassert.calls import NOTED, SOURCES
from envoyassert.calls.descriptors import CLOSE
from envoyassert.calls.epoll import EPOLL_WAIT
from envoyassert.calls.payload import text_at
from envoyassert.calls.tasks import SETNS
from envoyassert.errors import TraceFileError
from envoyassert.events import Event
from envoyassert.names import level_name, option_name
from envoyassert.option_values import FILTERS
from envoyassert.trace import CpuCounters, End, EnvoyIdentity, Header, Trace
from envoyassert.trace_schema import check_event

#: What no log of the program has, of `envoyassert.trace.CHANNELS`.
UNOBSERVED = ("socket_states", "stacks", "durations")

_BY_CONSTANT = {source.constant: (source, row) for source, row in SOURCES.values()}
_EVENTS = ("call", "wait", "exec", "fork", "exit", "signal", "rename")
_CHUNK_BYTES = WORDS * 8
#: As the probe: of an address, an option's value or descriptors.
_MOST_BYTES = 128
_TEXTS = (
    *("EA_UNLINK", "EA_UNLINKAT", "EA_CHMOD", "EA_FCHMODAT"),
    *("EA_FILE_RENAME", "EA_RENAMEAT", "EA_RENAMEAT2", *NOTED),
)
_PROGRAMS = ("EA_SECCOMP", "EA_PRCTL")
_RIGHTS = ("EA_SENDMSG", "EA_RECVMSG", "EA_SENDMMSG", "EA_RECVMMSG")
_AT_FDCWD = -100
#: sizeof(struct sock_fprog) on machines of 64 bits.
_FILTER_SIZE = 16
_OPTION = struct.Struct("=2i")
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
_COMM_LENGTH = 15
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
_TRACEPOINT = "prog_type:\t5"
_MISSES = re.compile(r"recursion_misses:\t(\d{1,19})$")


def parse_log(
    lines: Iterable[str], path: str, *, envoy_version: str = "", concurrency: int = 0
) -> Trace:
    """Read a log of our program.

    Args:
        lines: its lines.
        path: its name, for messages.
        envoy_version: version of the Envoy that was watched, `1.19.1`, if it is known.
        concurrency: the number of workers that it was started with; 0 if unknown.

    Raises:
        TraceFileError: a line that is not as the program prints it, or no event.
    """
    log = _Log(path, lines)
    found = _Events(log)
    events, cpus = found.read()
    if not events:
        raise TraceFileError(
            f"{path}: error: no event in the log: no process was seen to begin",
            "arm the program before Envoy starts, and name its executable with --exe",
        )
    misses = log.misses(found.last_ns)
    executed = any(event.call == "exec" for event in events)
    header = Header(
        envoy=EnvoyIdentity(version=envoy_version, source=f"bpftrace log {path}"),
        concurrency=concurrency,
        unobserved=(*(("completeness",) if misses is None else ()), *UNOBSERVED),
        tracer="bpftrace",
    )
    counted = log.ended and {counters.cpu for counters in cpus} <= log.totals.keys()
    end = End(cpus, misses or 0, counted, executed and not log.begun_before)
    return Trace(header, events, end)


def lost_calls(lines: Iterable[str], path: str) -> dict[str, int]:
    """Return how many system calls are not in a log that the program counted, by their names.

    Args:
        lines: of a log that `parse_log` read.
        path: its name.
    """
    log = _Log(path, lines)
    seen = Counter(line.numbers["nr"] for line in log.events if "nr" in line.numbers)
    names = {number: _name_of(constant) for number, constant in recorded(log.machine).items()}
    missing = {number: counted - seen[number] for number, counted in log.counts.items()}
    found: Counter[str] = Counter()
    for number, count in missing.items():
        found[names.get(number, EPOLL_WAIT.name)] += max(count, 0)
    return {name: count for name, count in sorted(found.items()) if count}


def _name_of(constant: str) -> str:
    return "open" if constant in NOTED else _BY_CONSTANT[constant][1].name


class _Log:
    """The lines of a log by what they are about."""

    def __init__(self, path: str, lines: Iterable[str]) -> None:
        self.path = path
        self.machine = ""
        self.begun_before = False
        self.ended = False
        self.events: list[PrintedLine] = []
        self.data: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(dict)
        self.totals: dict[int, int] = {}
        self.counts: dict[int, int] = {}
        self._readings: list[tuple[int, int, list[str]]] = []
        self._reading = False
        for number, text in enumerate(lines, 1):
            self._read(read_printed_line(text.rstrip("\n"), path, number))

    def _read(self, line: PrintedLine) -> None:
        kind, numbers = line.kind, line.numbers
        if kind == "header":
            if self.machine:
                raise error_at(self.path, line.number, 1, "a second log begins here")
            self.machine, self.begun_before = line.text, bool(numbers["pids"])
        elif kind and not self.machine:
            raise error_at(self.path, line.number, 1, "a line before the beginning of the log")
        elif kind in _EVENTS:
            self.events.append(line)
        elif kind == "data":
            words = [numbers[f"w{index}"] for index in range(WORDS)]
            self.data[numbers["cpu"], numbers["seq"]][numbers["chunk"]] = words
        elif kind == "end":
            self.ended = True
        elif kind == "total":
            counts = self.totals if line.text == "seq" else self.counts
            counts[numbers["key"]] = numbers["value"]
        elif kind == "skipped":
            self._reading = bool(numbers)
            if numbers:
                self._readings.append((numbers["ts"], numbers["programs"], []))
        elif kind == "descriptor":
            if not self._reading:
                raise error_at(self.path, line.number, 1, "a descriptor outside of `skipped` lines")
            self._readings[-1][2].append(line.text)

    def misses(self, last_ns: int) -> int | None:
        """Return how often the kernel skipped a program; None if that is not known to the end.

        Args:
            last_ns: time of the last event.
        """
        for ts_ns, programs, said in reversed(self._readings):
            if ts_ns < last_ns:
                return None
            found = [int(match[1]) for match in map(_MISSES.match, _of_tracepoints(said)) if match]
            if len(found) == programs:
                return sum(found)
        return None


def _of_tracepoints(said: Iterable[str]) -> Iterator[str]:
    """Yield what is said of programs at tracepoints."""
    inside = False
    for text in said:
        if text.startswith("pos:"):
            inside = False
        inside = inside or text == _TRACEPOINT
        if inside:
            yield text


class _Events:
    """Makes the events; see `parse_log`."""

    def __init__(self, log: _Log) -> None:
        self._log = log
        self._calls = recorded(log.machine) if log.machine else {}
        self._events: list[Event] = []
        self._opened: dict[tuple[int, int], tuple[int, str]] = {}
        self._living: dict[int, set[int]] = defaultdict(set)
        #: Time of the last event about anything else than a file: Envoy reads one each second.
        self.last_ns = 0

    def read(self) -> tuple[list[Event], tuple[CpuCounters, ...]]:
        """Return the events in time order, and the counters of each CPU.

        Lines that are no events of a trace have numbers as well; those of the events are without
        them.
        """
        lines = sorted(
            filter(self._is_whole, self._log.events),
            key=lambda line: tuple(line.numbers[name] for name in ("ts", "cpu", "seq")),
        )
        notes: dict[int, set[int]] = defaultdict(set)
        for line in lines:
            try:
                event = self._event(line)
            except ValueError as error:
                raise error_at(self._log.path, line.number, 1, str(error)) from error
            if event is None:
                # An opened file, which is in the setns that uses it.
                notes[line.numbers["cpu"]].add(line.numbers["seq"])
            else:
                self._events.append(event)
        return self._events, tuple(self._counted(notes))

    def _counted(self, notes: dict[int, set[int]]) -> Iterator[CpuCounters]:
        """Number the events without the notes, and yield the counters."""
        by_cpu: dict[int, list[Event]] = defaultdict(list)
        for event in self._events:
            by_cpu[event.cpu].append(event)
        for cpu in sorted({*by_cpu, *self._log.totals, *notes}):
            others = sorted(notes[cpu])
            passed = 0
            last = 0
            for event in sorted(by_cpu[cpu], key=lambda event: event.seq):
                while passed < len(others) and others[passed] < event.seq:
                    passed += 1
                event.seq -= passed
                last = event.seq
            emitted = max(self._log.totals.get(cpu, 0) - len(others), last)
            yield CpuCounters(cpu, emitted, max(emitted - len(by_cpu[cpu]), 0))

    def _event(self, line: PrintedLine) -> Event | None:
        """Return the event of a line, None for what is no event by itself."""
        numbers = line.numbers
        if line.kind == "call":
            return self._call(line)
        call, args = self._fact(line)
        self.last_ns = numbers["ts"]
        return self._made(numbers, call, None, args)

    def _made(
        self, numbers: dict[str, int], call: str, ret: int | None, args: dict[str, Any]
    ) -> Event:
        event = Event(
            *(numbers["ts"], numbers["pid"], numbers["tid"], call, ret, args),
            cpu=numbers["cpu"],
            seq=numbers["seq"],
        )
        check_event(event)
        return event

    def _fact(self, line: PrintedLine) -> tuple[str, dict[str, Any]]:
        numbers, kind = line.numbers, line.kind
        pid, tid = numbers["pid"], numbers["tid"]
        self._living[pid].add(tid)
        if kind == "wait":
            return "epoll_wait", {"epfd": numbers["epfd"]}
        if kind == "signal":
            return kind, {"number": numbers["number"]}
        if kind == "rename":
            return kind, {"tid": numbers["renamed"], "name": _unescaped(line.text)}
        if kind == "exec":
            self._living[pid] = {tid}
            name = PurePosixPath(line.text).name[:_COMM_LENGTH]
            # Its other arguments are not observed.
            args = {"filename": line.text, "argv": [line.text], "name": name, "truncated": True}
            return kind, args
        if kind == "fork":
            return kind, self._forked(numbers)
        self._living[pid].discard(tid)
        status = numbers["status"]
        return kind, {"status": None if status < 0 else status, "last": not self._living[pid]}

    def _forked(self, numbers: dict[str, int]) -> dict[str, Any]:
        flags = numbers["flags"]
        # Made by another call: a worker of the kernel's own.
        thread = flags < 0 or bool(flags & _CLONE_THREAD)
        shares_files = flags < 0 or bool(flags & _CLONE_FILES)
        child = numbers["child"]
        process = numbers["pid"] if thread else child
        self._living[process].add(child)
        args: dict[str, Any] = {"child_pid": process, "child_tid": child, "thread": thread}
        if shares_files is not thread:
            args["shares_files"] = shares_files
        return args

    def _call(self, line: PrintedLine) -> Event | None:
        numbers = line.numbers
        constant = self._constant(numbers)
        self._living[numbers["pid"]].add(numbers["tid"])
        data, cut = self._payload(constant, numbers)
        ret = numbers["ret"]
        if constant in NOTED:
            self._opened[numbers["pid"], ret] = numbers["ts"], text_at(data)
            return None
        source, row = _BY_CONSTANT[constant]
        args = source.decode(_record(constant, numbers, data), data, ret)
        if row is SETNS:
            self._name_file(numbers, args)
        if row is not CLOSE or self._opened.pop((numbers["pid"], args["fd"]), None) is None:
            self.last_ns = numbers["ts"]
        if cut or (constant in _RIGHTS and numbers["value"] != 1):
            args["truncated"] = True
        return self._made(numbers, row.name, ret, args)

    def _name_file(self, numbers: dict[str, int], args: dict[str, Any]) -> None:
        opened = self._opened.get((numbers["pid"], args["fd"]))
        if opened is not None:
            args["path"], args["age_ns"] = opened[1], numbers["ts"] - opened[0]

    def _constant(self, numbers: dict[str, int]) -> str:
        constant = self._calls.get(numbers["nr"])
        if constant is None:
            raise ValueError(f"the program does not record the call {numbers['nr']}")
        return constant

    def _is_whole(self, line: PrintedLine) -> bool:
        """Whether the `data` lines of a call are there: one without them is as good as lost."""
        numbers = line.numbers
        if line.kind != "call" or self._calls.get(numbers["nr"]) is None:
            return True
        size = numbers["size"] and numbers["size"] + numbers["from"]
        wanted = set(range(min(-(-size // _CHUNK_BYTES), CHUNKS)))
        if _second_at(self._constant(numbers), numbers):
            wanted.add(SECOND)
        return wanted <= self._log.data.get((numbers["cpu"], numbers["seq"]), {}).keys()

    def _payload(self, constant: str, numbers: dict[str, int]) -> tuple[bytes, bool]:
        """Return what a record of the probe has behind its head, and whether there was more."""
        chunks = self._log.data.get((numbers["cpu"], numbers["seq"]), {})
        size, start = numbers["size"], numbers["from"]
        content = b"".join(_bytes_of(chunks[index]) for index in sorted(chunks) if index < SECOND)
        data = content[start : start + size]
        if constant not in _TEXTS:
            is_program = constant in _PROGRAMS or _is_filter(constant, numbers)
            most = len(content) - start if is_program else _MOST_BYTES
            return data[:most], size > most
        texts = [data]
        if second := _second_at(constant, numbers):
            texts.append(_bytes_of(chunks[SECOND])[second & 7 :])
        cut = any(b"\0" not in text for text in texts)
        return b"\0".join(text.split(b"\0", 1)[0] for text in texts), cut


def _bytes_of(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


def _second_at(constant: str, numbers: dict[str, int]) -> int:
    """Return the address of the second text of a call, 0 if it has none."""
    if constant == "EA_FILE_RENAME":
        return numbers["a1"]
    return numbers["a3"] if constant in ("EA_RENAMEAT", "EA_RENAMEAT2") else 0


def _is_filter(constant: str, numbers: dict[str, int]) -> bool:
    """Whether a call sets an option whose value points at a packet filter."""
    if constant != "EA_SETSOCKOPT" or numbers["a4"] != _FILTER_SIZE:
        return False
    level = level_name(numbers["a1"])
    return option_name(level, numbers["a2"]) in FILTERS


def _signed(value: int) -> int:
    """Return the low half of a register as an `int` of C."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def _record(constant: str, numbers: dict[str, int], data: bytes) -> tuple[int, ...]:
    """Return the six arguments that a record of the probe has, see `bpf/syscalls.h`."""
    a0, a1, a2, a3, a4 = (_signed(numbers[name]) for name in ("a0", "a1", "a2", "a3", "a4"))
    value = numbers["value"]
    low, high = _signed(value), _signed(value >> 32)
    if constant == "EA_SETSOCKOPT":
        if not _is_filter(constant, numbers) and a4 <= 8:
            low, high = _OPTION.unpack(data.ljust(_OPTION.size, b"\0"))
        return a0, a1, a2, a4, low, high
    if constant in _PROGRAMS:
        # By the numbers of prctl(): 1 strict, 2 a filter.
        return a0, a0 + 1 if constant == "EA_SECCOMP" else a1, a2, 0, low, 0
    if constant == "EA_FILE_RENAME":
        return _AT_FDCWD, _AT_FDCWD, 0, 0, 0, 0
    if constant in ("EA_RENAMEAT", "EA_RENAMEAT2"):
        return a0, a2, a4 if constant == "EA_RENAMEAT2" else 0, 0, 0, 0
    if constant == "EA_EPOLL_CTL":
        return a0, a1, a2, low, 0, 0
    if constant == "EA_SOCKETPAIR":
        return a0, a1, a2, 0, low, high
    return a0, a1, a2, a3 if constant == "EA_ACCEPT4" else 0, 0, 0


def _unescaped(text: str) -> str:
    """Return a name that bpftrace printed with `%r`: its bytes up to the first NUL."""
    raw = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return text_at(raw.encode("latin-1", "replace"))
