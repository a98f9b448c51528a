"""The probe, loaded once, and the runs that it watches."""

from __future__ import annotations

import ctypes
import re
import secrets
import struct
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass
from types import TracebackType

from envoyassert.events import Event
from envoyassert.probe.machine import require
from envoyassert.probe.maps import possible_cpus
from envoyassert.probe.program import DEFAULT_RING_PAGES, Program
from envoyassert.trace import CpuCounters
from envoyassert.wire import ROUTE, Counters, Decoder, Target

#: Environment variable that a process to be traced is started with; put it first, the probe looks
#: at the first 512 variables.
RUN_ID_VARIABLE = "ENVOYASSERT_RUN"

_SLOTS = 64
_NUMBER = struct.Struct("=I")
_COUNTERS = struct.Struct("=4Q")
_RUN_ID = re.compile(r"[0-9a-f]{16}")
#: How long to wait before looking again at a ring whose newest record is still being written.
_PAUSE_S = 0.001


def new_run_id() -> str:
    """Return a fresh run id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class RunCounters:
    """What the kernel counted for a run, all CPUs together.

    Args:
        emitted: records that the program wanted to write.
        dropped: of these, records that were lost.
        marked: execs that carried the run id.
        registrations: successful EPOLL_CTL_ADD calls.
    """

    emitted: int
    dropped: int
    marked: int
    registrations: int


@dataclass(frozen=True)
class ProbeSnapshot:
    """What is known of a run at one instant.

    Args:
        events: all events up to that instant in time order; the list is a copy.
        cpus: counters of every CPU that recorded something.
        misses: how often the kernel skipped the program since the run was armed.
        drained: whether `events` are all that was emitted and not dropped up to that instant.
        marked: whether an exec carried the run id.
    """

    events: list[Event]
    cpus: tuple[CpuCounters, ...]
    misses: int
    drained: bool
    marked: bool


class Arm:
    """One run that is being watched; made by `Probe.arm`, a context manager that disarms."""

    def __init__(self, probe: Probe, run_id: str, serial: int) -> None:
        self.run_id = run_id
        self._probe = probe
        self._serial = serial
        self._decoder = Decoder()
        self._records: list[bytes] = []
        self._received: dict[int, list[int]] = {}
        self._cut: dict[int, CpuCounters] = {}
        self._drained = False
        self._marked = False
        self._misses = 0
        self._misses_before = probe._program.misses()
        self._armed = True

    def _take(self, record: bytes, cpu: int, seq: int) -> None:
        self._records.append(record)
        self._received.setdefault(cpu, []).append(seq)

    def drain(self, deadline_s: float) -> None:
        """Read the ring until all that was emitted so far has been received or is known as lost.

        Args:
            deadline_s: give up after so many seconds; the next snapshot then says so.
        """
        end = time.monotonic() + deadline_s
        while True:
            counters = self._probe._counters(self._serial)
            self._misses = self._probe._program.misses() - self._misses_before
            self._probe._read_ring()
            self._marked = any(count.marked for count in counters.values())
            self._cut = {
                cpu: CpuCounters(cpu, count.emitted, count.dropped)
                for cpu, count in counters.items()
                if count.emitted
            }
            self._drained = all(self._complete(count) for count in self._cut.values())
            if self._drained or time.monotonic() >= end:
                return
            time.sleep(_PAUSE_S)

    def _complete(self, count: CpuCounters) -> bool:
        numbers = self._received.get(count.cpu, [])
        return bisect_right(numbers, count.emitted) == count.emitted - count.dropped

    def snapshot(self) -> ProbeSnapshot:
        """Return the events up to the last `drain`, decoded.

        Raises:
            RecordError: the ring held bytes that are not a record.
        """
        with self._probe._lock:
            records, self._records = self._records, []
        self._decoder.feed(records)
        last = {cpu: count.emitted for cpu, count in self._cut.items()}
        events = [event for event in self._decoder.events if event.seq <= last.get(event.cpu, 0)]
        cpus = tuple(self._cut[cpu] for cpu in sorted(self._cut))
        return ProbeSnapshot(events, cpus, self._misses, self._drained, self._marked)

    def counters(self) -> RunCounters:
        """Return the kernel's counters without reading the ring (some microseconds)."""
        counts = self._probe._counters(self._serial).values()
        return RunCounters(
            sum(count.emitted for count in counts),
            sum(count.dropped for count in counts),
            sum(count.marked for count in counts),
            sum(count.registrations for count in counts),
        )

    def disarm(self) -> None:
        """Stop watching; processes of the run may live on. May be called more than once."""
        if self._armed:
            self._armed = False
            self._probe._disarm(self)

    def __enter__(self) -> Arm:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disarm()


class Probe:
    """The loaded probe; made by `Probe.load`, a context manager that closes."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._lock = threading.RLock()
        self._inbox: list[bytes] = []
        self._arms: dict[int, Arm] = {}
        self._next = 1
        program.open_ring(self._inbox.append)

    @classmethod
    def load(cls, *, ring_pages: int | None = None) -> Probe:
        """Compile, load and attach the probe; do it once per session.

        Args:
            ring_pages: size of the ring in memory pages, a power of two; 8192 if None.

        Raises:
            ProbeUnavailableError: this machine lacks something; the remedy says what.
            ProbeLoadError: the program was refused by the compiler or the kernel.
        """
        require()
        return cls(Program(DEFAULT_RING_PAGES if ring_pages is None else ring_pages))

    def arm(self, run_id: str) -> Arm:
        """Begin to watch processes whose environment says `ENVOYASSERT_RUN=<run_id>` at exec.

        Raises:
            ValueError: `run_id` is not 16 lower-case hexadecimal digits, or is armed already.
            RuntimeError: 64 runs are armed.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"a run id has 16 hexadecimal digits, not {run_id!r}")
        with self._lock:
            if any(arm.run_id == run_id for arm in self._arms.values()):
                raise ValueError(f"run {run_id} is armed already")
            if len(self._arms) == _SLOTS:
                raise RuntimeError(f"{_SLOTS} runs are armed, there is room for no more")
            taken = {serial % _SLOTS for serial in self._arms}
            while self._next % _SLOTS in taken:
                self._next += 1
            serial, self._next = self._next, self._next + 1
            slot = _NUMBER.pack(serial % _SLOTS)
            arm = Arm(self, run_id, serial)
            self._arms[serial] = arm
            program = self._program
            program.counters.set(slot, bytes(ctypes.sizeof(Counters) * len(possible_cpus())))
            program.armed.set(slot, _NUMBER.pack(serial))
            self._count_armed()
            program.runs.set(run_id.encode(), _NUMBER.pack(serial))
            return arm

    def _count_armed(self) -> None:
        self._program.armed.set(_NUMBER.pack(_SLOTS), _NUMBER.pack(len(self._arms)))

    def _disarm(self, arm: Arm) -> None:
        with self._lock:
            program = self._program
            program.runs.delete(arm.run_id.encode())
            program.armed.set(_NUMBER.pack(arm._serial % _SLOTS), _NUMBER.pack(0))
            for pid in list(program.targets.keys()):
                mark = program.targets.get(pid)
                if mark is not None and Target.from_buffer_copy(mark).run == arm._serial:
                    program.targets.delete(pid)
            del self._arms[arm._serial]
            self._count_armed()

    def _counters(self, serial: int) -> dict[int, RunCounters]:
        value = self._program.counters.get(_NUMBER.pack(serial % _SLOTS))
        assert value is not None
        return {
            cpu: RunCounters(*count)
            for cpu, count in zip(possible_cpus(), _COUNTERS.iter_unpack(value), strict=True)
        }

    def _read_ring(self) -> None:
        """Move all records from the ring to the runs that they belong to."""
        with self._lock:
            self._program.read_ring()
            arms = self._arms
            route = ROUTE.unpack_from
            for record in self._inbox:
                serial, seq, cpu = route(record)
                arm = arms.get(serial)
                if arm is not None:
                    arm._take(record, cpu, seq)
            self._inbox.clear()

    def close(self) -> None:
        """Detach and unload the probe. May be called more than once."""
        with self._lock:
            for arm in list(self._arms.values()):
                arm.disarm()
            self._program.close()

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
