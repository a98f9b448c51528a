"""The probe, loaded once, and the runs that it watches."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass

from typing_extensions import Self

from envoyassert.events import Event
from envoyassert.launch.marked import MARK
from envoyassert.option_read_back import Option
from envoyassert.probe.machine import require
from envoyassert.probe.program import DEFAULT_RING_PAGES, Program
from envoyassert.probe.traced_runs import RunCounters, Runs
from envoyassert.trace import CpuCounters
from envoyassert.wire import Decoder

#: Environment variable that a process to be traced is started with; put it first, the probe looks
#: at the first 512 variables.
RUN_ID_VARIABLE = MARK

_RUN_ID = re.compile(r"[0-9a-f]{16}")
#: How long to wait before looking again at a ring whose newest record is still being written.
_PAUSE_S = 0.001


def new_run_id() -> str:
    """Return a fresh run id: 16 hexadecimal digits."""
    return secrets.token_hex(8)


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

    tracer = "ebpf"
    unobserved: tuple[str, ...] = ()

    def __init__(self, runs: Runs, run_id: str) -> None:
        self.run_id = run_id
        self._runs = runs
        self._decoder = Decoder()
        self._cut: dict[int, CpuCounters] = {}
        self._drained = False
        self._marked = False
        self._misses = 0
        self._misses_before = runs.misses()
        self._serial = runs.add(run_id)

    def command(self, directory: str) -> tuple[str, ...]:
        """Return nothing: Envoy is started by itself."""
        return ()

    def second(self, until_ns: int) -> None:
        """Return nothing: there is no other record of the run."""

    def drain(self, deadline_s: float) -> None:
        """Read the ring until all that was emitted so far has been received or is known as lost.

        Args:
            deadline_s: give up after so many seconds; the next snapshot then says so.
        """
        end = time.monotonic() + deadline_s
        while True:
            counters = self._runs.counters(self._serial)
            self._runs.collect()
            self._misses = self._runs.misses() - self._misses_before
            self._marked = any(count.marked for count in counters.values())
            self._cut = {
                cpu: CpuCounters(cpu, count.emitted, count.dropped, count.unmarked)
                for cpu, count in counters.items()
                if count.emitted
            }
            self._drained = all(
                self._runs.received(self._serial, count.cpu, count.emitted)
                == count.emitted - count.dropped
                for count in self._cut.values()
            )
            if self._drained or time.monotonic() >= end:
                return
            time.sleep(_PAUSE_S)

    def snapshot(self) -> ProbeSnapshot:
        """Return the events up to the last `drain`, decoded.

        Raises:
            RecordError: the ring held bytes that are not a record.
        """
        self._decoder.feed(self._runs.take(self._serial))
        last = {cpu: count.emitted for cpu, count in self._cut.items()}
        events = [event for event in self._decoder.events if event.seq <= last.get(event.cpu, 0)]
        cpus = tuple(self._cut[cpu] for cpu in sorted(self._cut))
        return ProbeSnapshot(events, cpus, self._misses, self._drained, self._marked)

    def options(self) -> frozenset[Option]:
        """Return which socket options were set up to the last `drain`, by level and name."""
        return self._runs.options(self._serial)

    def counters(self) -> RunCounters:
        """Return the kernel's counters, all CPUs together, without reading the ring."""
        counts = self._runs.counters(self._serial).values()
        return RunCounters(
            sum(count.emitted for count in counts),
            sum(count.dropped for count in counts),
            sum(count.unmarked for count in counts),
            sum(count.marked for count in counts),
            sum(count.registrations for count in counts),
        )

    def disarm(self) -> None:
        """Stop watching; processes of the run may live on. May be called more than once."""
        self._runs.remove(self._serial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disarm()


class Probe:
    """The loaded probe; made by `Probe.load`, a context manager that closes."""

    def __init__(self, program: Program) -> None:
        self._runs = Runs(program)

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
        return Arm(self._runs, run_id)

    def flush(self) -> None:
        """Have the records that wait on each CPU written to the ring, where `drain` looks."""
        self._runs.flush()

    def close(self) -> None:
        """Detach and unload the probe. May be called more than once."""
        self._runs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
