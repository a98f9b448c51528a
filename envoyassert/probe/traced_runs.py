"""The runs that the loaded program watches: marks in its maps, counters, and records per run."""

from __future__ import annotations

import ctypes
import struct
import threading
from bisect import bisect_right, insort
from dataclasses import dataclass, field

from envoyassert.frozen import frozen
from envoyassert.option_read_back import Option
from envoyassert.probe.maps import possible_cpus
from envoyassert.probe.program import SLOTS, Program
from envoyassert.wire import Counters, MarkedProcess, option_of, records_of

#: EA_UNLIMITED of bpf/events.h, as a number of records.
UNLIMITED = 2**63 - 1

#: More threads than a process can have: of so many that began the last one never ends.
_NEVER_THE_LAST = 2**31

_NUMBER = struct.Struct("=I")
_ROOM = struct.Struct("=Q")
_COUNTERS = struct.Struct("=7Q")


@frozen
class RunCounters:
    """What the kernel counted for a run.

    Args:
        emitted: records that the program wanted to write.
        dropped: of these, records that were lost: the ring was full, or as below.
        unmarked: of the dropped, processes that could not be marked for a full map.
        marked: execs that carried the run id, or that a selection gave the run to.
        registrations: successful EPOLL_CTL_ADD calls.
        capped: of the dropped, records past the limit of the run; it ended with the first.
        selection: 0, or the number of the selection that gave the run to a process, from 1.
    """

    emitted: int
    dropped: int
    unmarked: int
    marked: int
    registrations: int
    capped: int = 0
    selection: int = 0


@dataclass(eq=False, repr=False)
class _Run:
    run_id: str
    records: list[bytes] = field(default_factory=list)
    #: Sequence numbers per CPU, ascending.
    received: dict[int, list[int]] = field(default_factory=dict)
    options: set[Option] = field(default_factory=set)


class Runs:
    """All runs of one loaded program. Its methods may be called from several threads."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.lock = threading.RLock()
        self._runs: dict[int, _Run] = {}
        self._next = 1

    @property
    def free(self) -> int:
        """How many more runs can be watched."""
        return len(self._program.slots) - len(self._runs)

    def add(self, run_id: str, records: int = UNLIMITED) -> int:
        """Begin to watch a run and return its serial number.

        Args:
            run_id: what a process carries in its environment; "" if a selection gives the run.
            records: how many it may have.

        Raises:
            ValueError: it is watched already.
            RuntimeError: too many runs.
        """
        with self.lock:
            if run_id and any(run.run_id == run_id for run in self._runs.values()):
                raise ValueError(f"run {run_id} is armed already")
            if not self.free:
                raise RuntimeError(f"{len(self._runs)} runs are armed, there is room for no more")
            free = {*self._program.slots} - {serial % SLOTS for serial in self._runs}
            # Marks hold the low 16 bits of the number, and 0 is no mark.
            while self._next % SLOTS not in free or not self._next & 0xFFFF:
                self._next += 1
            serial, self._next = self._next, self._next + 1
            program, slot = self._program, _NUMBER.pack(serial % SLOTS)
            program.counters.set(slot, bytes(ctypes.sizeof(Counters) * len(possible_cpus())))
            program.room.set(slot, _ROOM.pack(records))
            program.armed.set(slot, _NUMBER.pack(serial))
            self._runs[serial] = _Run(run_id)
            self._count(run_id, 1)
            if run_id:
                program.runs.set(run_id.encode(), _NUMBER.pack(serial))
            return serial

    def make_room(self) -> None:
        """Empty the ring of what runs left there that are over: it would be lost room for the next.

        What other runs wrote up to now is collected.

        Raises:
            RecordError: the ring held bytes that are not records.
        """
        with self.lock:
            self._program.flush()
            if not self._runs:
                self._program.skip_ring()
                return
            begin, end = self._program.unread
            while begin < end:
                self.collect()
                before, (begin, _) = begin, self._program.unread
                if begin == before:
                    return  # the next one is being written: `drain` reads it

    def mark_running(self, serial: int, pid: int) -> None:
        """Let a process that runs already belong to a run from now on, with all its threads.

        How many threads it has changes meanwhile, so none of their ends counts as the last one.
        Marks are written four at a time: a process whose number is near may lose its own.

        Args:
            serial: the run.
            pid: the process, in the first pid namespace.
        """
        with self.lock:
            program, word = self._program, _NUMBER.pack(pid // 4)
            target = MarkedProcess(run=serial, started=_NEVER_THE_LAST)
            program.targets.set(_NUMBER.pack(pid), bytes(target))
            four = bytearray(program.marks.get(word) or bytes(8))
            struct.pack_into("=H", four, 2 * (pid % 4), serial & 0xFFFF)
            program.marks.set(word, bytes(four))

    def remove(self, serial: int) -> None:
        """Stop watching a run and remove its marks; nothing if that was done before."""
        with self.lock:
            run = self._runs.pop(serial, None)
            if run is None:
                return
            program = self._program
            if run.run_id:
                program.runs.delete(run.run_id.encode())
            program.armed.set(_NUMBER.pack(serial % SLOTS), _NUMBER.pack(0))
            self._count(run.run_id, -1)
            for pid in list(program.targets.keys()):
                mark = program.targets.get(pid)
                if mark is not None and MarkedProcess.from_buffer_copy(mark).run == serial:
                    program.targets.delete(pid)
            # What is lost later must not be counted for the next run of this slot.
            program.flush()

    def _count(self, run_id: str, change: int) -> None:
        """Count a run among those that are armed, of all workers, and those that have an id."""
        armed = self._program.armed
        with self._program.exclusive():
            for place in (SLOTS, SLOTS + 1) if run_id else (SLOTS,):
                number = _NUMBER.pack(place)
                (now,) = _NUMBER.unpack(armed.get(number) or bytes(_NUMBER.size))
                armed.set(number, _NUMBER.pack(now + change))

    def counters(self, serial: int) -> dict[int, RunCounters]:
        """Return the kernel's counters per CPU."""
        value = self._program.counters.get(_NUMBER.pack(serial % SLOTS))
        assert value is not None
        return {
            cpu: RunCounters(*count)
            for cpu, count in zip(possible_cpus(), _COUNTERS.iter_unpack(value), strict=True)
        }

    def misses(self) -> int:
        """Return how often the kernel skipped the program since it was loaded."""
        return self._program.misses()

    def missed_execs(self) -> int:
        """Return how often the kernel skipped the comparison with the selections at an exec."""
        return self._program.misses("ea_process_select")

    def flush(self) -> None:
        """Have the records that wait on each CPU written into the ring."""
        self._program.flush()

    def collect(self) -> None:
        """Move records from the kernel to the runs that they belong to; of very many, a part.

        Raises:
            RecordError: the ring held bytes that are not records.
        """
        with self.lock:
            self._program.flush()
            for piece in self._program.read_ring():
                for serial, seq, cpu, record in records_of(piece):
                    run = self._runs.get(serial)
                    if run is not None:
                        run.records.append(record)
                        insort(run.received.setdefault(cpu, []), seq)
                        option = option_of(record)
                        if option is not None:
                            run.options.add(option)

    def received(self, serial: int, cpu: int, last: int) -> int:
        """Return how many records of a CPU with numbers up to `last` have been collected."""
        with self.lock:
            return bisect_right(self._runs[serial].received.get(cpu, []), last)

    def take(self, serial: int) -> list[bytes]:
        """Return the records that were collected since the last call."""
        with self.lock:
            run = self._runs.get(serial)
            if run is None:
                return []
            records, run.records = run.records, []
            return records

    def options(self, serial: int) -> frozenset[Option]:
        """Return the socket options that the records collected so far are about."""
        with self.lock:
            return frozenset(self._runs[serial].options)

    def close(self) -> None:
        """Stop watching all runs; detach and unload the program."""
        with self.lock:
            for serial in list(self._runs):
                self.remove(serial)
            self._program.close()
