"""The binary records of the probe: their layout, and bytes to events.

The ctypes classes are the layout on this side; `static_asserts` turns them into C that is compiled
together with `bpf/events.h`, so that a difference between the two is refused when the probe is
loaded, before a wrong byte is decoded. The types of records are those of `envoyassert.calls`; the
program gets them as `enum ea_type`. Decoding itself uses precompiled `struct` formats of the
same sizes. Records with equal arguments differ in few numbers, so only these are made of each; the
rest is read once, and its arguments are one object. A run has few different ones.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter, lt
from typing import Any, TypeAlias

from envoyassert.calls import SOURCES, TYPES
from envoyassert.calls.sockets import SETSOCKOPT
from envoyassert.calls.tasks import EXEC_HEAD
from envoyassert.collection import collection_paused
from envoyassert.errors import EnvoyAssertError
from envoyassert.events import Event
from envoyassert.names import level_name, option_name


class RecordError(EnvoyAssertError):
    """Bytes that are not a record of this version of the probe."""


class Record(ctypes.Structure):
    """`struct ea_record`: the head of every record."""

    _fields_ = (
        ("ts_ns", ctypes.c_uint64),
        ("ret", ctypes.c_int64),
        ("stack", ctypes.c_uint64),
        ("run", ctypes.c_uint32),
        ("seq", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("tid", ctypes.c_uint32),
        ("cpu", ctypes.c_uint16),
        ("type", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("frames", ctypes.c_uint16),
        ("length", ctypes.c_uint16),
        ("args", ctypes.c_int32 * 6),
    )


class Frame(ctypes.Structure):
    """`struct ea_frame`: the kernel's `struct bpf_stack_build_id`."""

    _fields_ = (
        ("status", ctypes.c_int32),
        ("build_id", ctypes.c_uint8 * 20),
        ("offset", ctypes.c_uint64),
    )


class Exec(ctypes.Structure):
    """`struct ea_exec`: the payload of an exec record."""

    _fields_ = (
        ("comm", ctypes.c_char * EXEC_HEAD[0]),
        ("filename", ctypes.c_char * EXEC_HEAD[1]),
        ("argv", ctypes.c_char * 768),
    )


class Counters(ctypes.Structure):
    """`struct ea_counters`: one per run and CPU."""

    _fields_ = (
        ("emitted", ctypes.c_uint64),
        ("dropped", ctypes.c_uint64),
        ("unmarked", ctypes.c_uint64),
        ("marked", ctypes.c_uint64),
        ("registrations", ctypes.c_uint64),
        ("capped", ctypes.c_uint64),
        ("selection", ctypes.c_uint64),
    )


class ArmedSelection(ctypes.Structure):
    """`struct ea_selection`: what a process must be at its exec to get a spare run."""

    _fields_ = (
        ("taken", ctypes.c_uint64),
        ("missed", ctypes.c_uint64),
        ("comm", ctypes.c_char * 16),
        ("comm_mask", ctypes.c_char * 16),
        ("records", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
        ("cgroup_level", ctypes.c_uint32),
        ("armed", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("uid_mask", ctypes.c_uint32),
        ("variables", ctypes.c_uint32),
        ("exe_size", ctypes.c_uint32),
        ("is_path", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
    )


class MarkedProcess(ctypes.Structure):
    """`struct ea_target`: the mark of a process."""

    _fields_ = (
        ("run", ctypes.c_uint32),
        ("epolls", ctypes.c_uint32),
        ("started", ctypes.c_uint32),
        ("exited", ctypes.c_uint32),
        ("tables", ctypes.c_uint32),
    )


#: EA_TEXT_SIZE of bpf/events.h.
TEXT_SIZE = 256

FAULT, TRUNCATED = 1, 2

_LAYOUTS: dict[str, type[ctypes.Structure]] = {
    "ea_record": Record,
    "ea_frame": Frame,
    "ea_exec": Exec,
    "ea_counters": Counters,
    "ea_target": MarkedProcess,
    "ea_selection": ArmedSelection,
}

_CODES: dict[type[Any], str] = {
    ctypes.c_uint8: "B",
    ctypes.c_uint16: "H",
    ctypes.c_uint32: "I",
    ctypes.c_int32: "i",
    ctypes.c_uint64: "Q",
    ctypes.c_int64: "q",
}


def _format(layout: type[ctypes.Structure]) -> struct.Struct:
    """Return the `struct` format of a layout that has no holes; byte arrays become bytes."""
    codes = []
    for field in layout._fields_:
        kind: Any = field[1]
        if issubclass(kind, ctypes.Array):
            item = kind._type_
            one_byte = ctypes.sizeof(item) == 1
            codes.append(f"{kind._length_}{'s' if one_byte else _CODES[item]}")
        else:
            codes.append(_CODES[kind])
    made = struct.Struct("=" + "".join(codes))
    if made.size != ctypes.sizeof(layout):
        raise AssertionError(f"{layout.__name__} has holes: pad it manually")
    return made


_FRAME = _format(Frame)
#: What varies from record to record: all before the type but for the run; the thread as bytes.
_VARYING = "=QqQ4xI8sH"
_TYPE = Record.type.offset
if struct.calcsize(_VARYING) != _TYPE:
    raise AssertionError("the type of a record is at another place")
#: Type, flags, number of frames and length of a record, which its arguments follow.
_ABOUT = struct.Struct("=BBHH")
if _TYPE + _ABOUT.size != Record.args.offset:
    raise AssertionError("the arguments of a record are at another place")
_IDS = struct.Struct("=II")
_ARGS = struct.Struct("=6i")

#: Run, sequence number, CPU, number of frames and length of a record without decoding it.
_ROUTE = struct.Struct(f"={Record.run.offset}xII8xH2xHH")

RECORD_SIZE = ctypes.sizeof(Record)


def records_of(piece: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield run, sequence number, CPU and bytes of each record of a piece of the ring.

    Records that were written together lie behind one another, each at a multiple of 8 bytes.

    Raises:
        RecordError: the last one is cut short.
    """
    start, end = 0, len(piece)
    while start < end:
        if end - start < RECORD_SIZE:
            raise RecordError(f"a record of {end - start} bytes; at least {RECORD_SIZE} needed")
        run, seq, cpu, frames, length = _ROUTE.unpack_from(piece, start)
        stop = start + RECORD_SIZE + frames * _FRAME.size + length
        if stop > end:
            raise RecordError(f"a record of {end - start} bytes that claims {stop - start}")
        yield run, seq, cpu, piece[start:stop]
        start = (stop + 7) & ~7


_OPTION = struct.Struct("=2i")


def option_of(record: bytes) -> tuple[int | str, int | str] | None:
    """Return level and name of the option that a record is about, None if it is about none."""
    if record[Record.type.offset] != SETSOCKOPT.sources[0].number:
        return None
    level, number = _OPTION.unpack_from(record, Record.args.offset + 4)
    return level_name(level), option_name(level_name(level), number)


def type_enum() -> str:
    """Return `enum ea_type` in C: the types of records, by their numbers."""
    members = "".join(f"\t{constant} = {number},\n" for constant, number in TYPES.items())
    return f"enum ea_type {{\n{members}}};\n"


def static_asserts() -> str:
    """Return C text that does not compile unless `bpf/events.h` has this layout."""
    lines = []
    for name, layout in _LAYOUTS.items():
        lines.append(
            f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(layout)}, "size of {name}");'
        )
        for field in layout._fields_:
            member = field[0]
            descriptor = getattr(layout, member)
            place = f"__builtin_offsetof(struct {name}, {member}) == {descriptor.offset}"
            size = f"sizeof(((struct {name} *)0)->{member}) == {descriptor.size}"
            lines.append(f'_Static_assert({place}, "{name}.{member}: offset");')
            lines.append(f'_Static_assert({size}, "{name}.{member}: size");')
    lines.append(f'_Static_assert(EA_FAULT == {FAULT}, "EA_FAULT");')
    lines.append(f'_Static_assert(EA_TEXT_SIZE == {TEXT_SIZE}, "EA_TEXT_SIZE");')
    lines.append(f'_Static_assert(EA_TRUNCATED == {TRUNCATED}, "EA_TRUNCATED");')
    return "\n".join(lines) + "\n"


def _splitter(words: int, pointers: tuple[int, int]) -> Callable[[bytes], tuple[Any, ...]]:
    """Return what takes a record apart: what varies, then what the arguments follow from.

    The latter is in two parts, for pointers may be between them.

    Args:
        words: how many arguments are looked at.
        pointers: which of these are not, see `Source`.
    """
    first, behind = pointers if pointers[1] else (words, words)
    parts = f"{_ABOUT.size + 4 * first}s{4 * (behind - first)}x{4 * (words - behind)}s"
    return struct.Struct(_VARYING + parts).unpack_from


#: By type; a record of one that is not known is split too, and refused when it is read.
_SPLIT = [_splitter(6, (0, 0))] * 256
for _number, (_source, _) in SOURCES.items():
    _SPLIT[_number] = _splitter(_source.words, _source.pointers)

#: What a fault leaves without a value.
_FAULTED = ("address", "path", "to", "value")
#: Call, arguments, whether there is a result, whether some of the memory could not be read.
_Said: TypeAlias = "tuple[str, dict[str, Any], bool, bool]"
#: So many different arguments are known at a time.
_KNOWN = 1 << 14

_time = attrgetter("ts_ns")
#: By what events are sorted, the last one counts most: numbers are compared faster than tuples.
_ORDER = (attrgetter("seq"), attrgetter("cpu"), _time)


class Decoder:
    """Turns the records of one run into events, in as many portions as they come.

    The frames of a stack come with the first record of a process that has it; later records name
    it. All records fed so far are searched for the frames, in whatever order they came.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._stacks: dict[tuple[int, int], tuple[str, ...]] = {}
        self._waiting: list[tuple[Event, tuple[int, int]]] = []
        self._threads: dict[bytes, tuple[int, int]] = {}
        self._results: dict[int, int] = {}
        self._returned: dict[bytes, _Said] = {}
        self._failed: dict[bytes, _Said] = {}

    @collection_paused()
    def feed(self, records: Iterable[bytes]) -> None:
        """Decode more records; afterwards `events` holds all events so far in time order.

        Raises:
            RecordError: too short, of unknown type, or contradicting its own lengths.
        """
        made: list[Event] = []
        append, threads, same_result = made.append, self._threads, self._results.setdefault
        split, returned, failed = _SPLIT, self._returned, self._failed
        for record in records:
            size = len(record)
            if size < RECORD_SIZE:
                raise RecordError(f"a record of {size} bytes; at least {RECORD_SIZE} needed")
            ts_ns, ret, stack, seq, ids, cpu, said, rest = split[record[_TYPE]](record)
            said += rest
            if size > RECORD_SIZE:
                said += record[RECORD_SIZE:]
            known = failed if ret < 0 else returned
            read = known.get(said)
            if read is None:
                if len(known) >= _KNOWN:
                    known.clear()
                read = known[said] = _read(record, ret)
            call, args, has_result, fault = read
            thread = threads.get(ids)
            if thread is None:
                thread = threads[ids] = _IDS.unpack(ids)
            event = Event(
                ts_ns,
                thread[0],
                thread[1],
                call,
                same_result(ret, ret) if has_result else None,
                args,
                cpu,
                seq,
                fault,
            )
            append(event)
            if stack:
                if size > RECORD_SIZE and (frames := _ABOUT.unpack_from(record, _TYPE)[2]):
                    self._stacks[thread[0], stack] = _frames(record, frames)
                self._waiting.append((event, (thread[0], stack)))
        self._name_stacks()
        self._add(made)

    def _add(self, made: list[Event]) -> None:
        """Put new events where they belong among those of before."""
        times = [event.ts_ns for event in [*self.events[-1:], *made]]
        self.events += made
        if not all(map(lt, times, times[1:])):
            for key in _ORDER:
                self.events.sort(key=key)

    def _name_stacks(self) -> None:
        waiting = []
        for event, key in self._waiting:
            found = self._stacks.get(key)
            if found is None:
                waiting.append((event, key))
            else:
                event.stack = found
        self._waiting = waiting


def _read(record: bytes, ret: int) -> _Said:
    """Return the call of a record, its arguments, whether it has a result, whether it is a fault.

    Raises:
        RecordError: of unknown type, or contradicting its own lengths.
    """
    kind, flags, frames, length = _ABOUT.unpack_from(record, _TYPE)
    if kind not in SOURCES:
        raise RecordError(f"a record of unknown type {kind}")
    source, row = SOURCES[kind]
    start = RECORD_SIZE + frames * _FRAME.size
    if len(record) < start + length:
        raise RecordError(
            f"a {row.name} record of {len(record)} bytes that claims {start + length}"
        )
    words = _ARGS.unpack_from(record, Record.args.offset)
    args = source.decode(words, record[start : start + length], ret)
    _mark(args, flags, length)
    return row.name, args, not (row.is_fact or row.at_entry), bool(flags & FAULT)


def _mark(args: dict[str, Any], flags: int, length: int) -> None:
    """Say in the arguments of a record what could not be read of them."""
    if flags & TRUNCATED:
        args["truncated"] = True
    if flags & FAULT and not length:
        for name in _FAULTED:
            if name in args:
                args[name] = None


def _frames(record: bytes, count: int) -> tuple[str, ...]:
    """Return the frames behind the head of a record, innermost first."""
    area = record[RECORD_SIZE : RECORD_SIZE + count * _FRAME.size]
    return tuple(
        f"{build_id.hex()}+0x{offset:x}" if status == 1 else f"ip+0x{offset:x}"
        for status, build_id, offset in _FRAME.iter_unpack(area)
        if status in (1, 2)
    )


def decode(records: Iterable[bytes]) -> list[Event]:
    """Return the events of one run in the order of (ts_ns, cpu, seq).

    Args:
        records: records of one run as the probe wrote them, in any order.

    Raises:
        RecordError: bytes that are not a record.
    """
    decoder = Decoder()
    decoder.feed(records)
    return decoder.events
