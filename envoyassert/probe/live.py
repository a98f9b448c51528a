"""The probe, loaded once, and the runs that it watches."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable

from typing_extensions import Self

from envoyassert.events import Event
from envoyassert.frozen import frozen
from envoyassert.launch.processes import MARK
from envoyassert.live.selection import ProcessSelection
from envoyassert.option_read_back import Option
from envoyassert.probe.comparison import comparison
from envoyassert.probe.cost import Cost, measure
from envoyassert.probe.machine import require
from envoyassert.probe.pool import Pool
from envoyassert.probe.program import DEFAULT_RING_PAGES, SLOTS, Program
from envoyassert.probe.traced_runs import UNLIMITED, RunCounters, Runs
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


def _check_records(records: int) -> None:
    if not 1 <= records <= UNLIMITED:
        raise ValueError(f"a run may have 1 record at least, not {records}")


@frozen
class ProbeSnapshot:
    """What is known of a run at one instant.

    Args:
        events: all events up to that instant in time order; the list is a copy.
        cpus: counters of every CPU that recorded something.
        misses: how often the kernel skipped the program since the run was armed.
        drained: whether `events` are all that was emitted and not dropped up to that instant.
        marked: whether an exec carried the run id, or began the run by a selection.
    """

    events: list[Event]
    cpus: tuple[CpuCounters, ...]
    misses: int
    drained: bool
    marked: bool


class Arm:
    """One run that is being watched, a context manager that disarms.

    Made by `Probe.arm`, or by `Selected.poll`; then `run_id` is "".
    """

    tracer = "ebpf"
    unobserved: tuple[str, ...] = ()

    def __init__(self, runs: Runs, run_id: str, serial: int, misses_before: int) -> None:
        self.run_id = run_id
        self._runs = runs
        self._decoder = Decoder()
        self._cut: dict[int, CpuCounters] = {}
        self._drained = False
        self._marked = False
        self._misses = 0
        self._misses_before = misses_before
        self._serial = serial

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
                cpu: CpuCounters(cpu, count.emitted, count.dropped, count.unmarked, count.capped)
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
            sum(count.capped for count in counts),
            sum(count.selection for count in counts),
        )

    def disarm(self) -> None:
        """Stop watching; processes of the run may live on. May be called more than once."""
        self._runs.remove(self._serial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disarm()


class Selected:
    """Processes that are watched though something else starts them; disarms as a context manager.

    Made by `Probe.select`. Each matching process begins a run of its own at its exec, to which its
    threads and children belong too, but for a process that belongs to a run already.
    """

    def __init__(
        self, runs: Runs, pool: Pool, selection: ProcessSelection, ready: int, records: int
    ) -> None:
        self._runs = runs
        self._pool = pool
        self._misses = runs.misses()
        self._missed_before = runs.missed_execs()
        self._missed = 0
        self._number: int | None = pool.add(comparison(selection, records), ready)

    def poll(self) -> list[Arm]:
        """Return the runs that began since the last call, oldest first; the caller disarms them.

        It renews the spare runs as well, so call it often.
        """
        if self._number is None:
            return []
        serials = self._pool.begun(self._number)
        if not serials:
            return []
        before, self._misses = self._misses, self._runs.misses()
        return [Arm(self._runs, "", serial, before) for serial in serials]

    @property
    def missed(self) -> int:
        """How many matching processes are not watched, at most.

        No spare run was left for them, the kernel could not read all that had to be compared, or
        it skipped the comparison.
        """
        if self._number is not None and self._pool.is_armed(self._number):
            skipped = self._runs.missed_execs() - self._missed_before
            self._missed = self._pool.missed(self._number) + skipped
        return self._missed

    def disarm(self) -> None:
        """Let no further run begin; those that `poll` returned go on. May be called repeatedly."""
        if self._number is not None:
            self._missed = self.missed
            self._pool.remove(self._number)
            self._number = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disarm()


class Probe:
    """The loaded probe; made by `Probe.load`, a context manager that closes."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._runs = Runs(program)
        self._pool = Pool(program, self._runs)
        self._selecting: Probe | None = None

    @classmethod
    def load(cls, *, ring_pages: int | None = None, session: str = "") -> Probe:
        """Load and attach the probe; do it once per session.

        Args:
            ring_pages: size of the ring in memory pages, a power of two; 8192 if None.
            session: a name that no other session has, if several processes of this one load the
                probe: all of them then use the one that the first has loaded.

        Raises:
            ProbeUnavailableError: this machine lacks something; the remedy says what.
            ProbeLoadError: the program was refused by the compiler or the kernel.
        """
        require()
        return cls(Program(DEFAULT_RING_PAGES if ring_pages is None else ring_pages, session))

    def arm(self, run_id: str, records: int = UNLIMITED) -> Arm:
        """Begin to watch processes whose environment says `ENVOYASSERT_RUN=<run_id>` at exec.

        What runs before it left in the ring is dropped first, so that it has all of the room.

        Args:
            run_id: 16 lower-case hexadecimal digits.
            records: how many the run may have. The one after ends it in the kernel: it counts as
                lost (`RunCounters.capped`), and nothing of its processes is recorded any more.

        Raises:
            ValueError: `run_id` has another form, or is armed already; or `records` is below 1.
            RuntimeError: 256 runs are armed; 16 by this worker of those that share a probe.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"a run id has 16 hexadecimal digits, not {run_id!r}")
        _check_records(records)
        self._runs.make_room()
        misses = self._runs.misses()
        return Arm(self._runs, run_id, self._runs.add(run_id, records), misses)

    def watch_running(self, processes: Callable[[], Iterable[int]]) -> Arm:
        """Begin to watch processes that run already; nothing of their past is known.

        They are asked for until no further one has begun: what those that are watched start from
        then on, the kernel adds by itself. Arm nothing else meanwhile: see `Runs.mark_running`.

        Args:
            processes: returns a process and its descendants as they are now, in the first pid
                namespace.

        Raises:
            RuntimeError: 256 runs are armed; 16 by this worker of those that share a probe.
        """
        self._runs.make_room()
        misses = self._runs.misses()
        serial = self._runs.add("")
        known: set[int] = set()
        while further := set(processes()) - known:
            for pid in sorted(further):
                self._runs.mark_running(serial, pid)
            known |= further
        return Arm(self._runs, "", serial, misses)

    def select(
        self, selection: ProcessSelection, limit: int = 32, records: int = UNLIMITED
    ) -> Selected:
        """Begin to watch the processes that a selection means, from the exec that each makes next.

        The kernel compares the executable, the variables and the user id, as it is in the first
        user namespace, and a cgroup of version 2. The container, the pod, and a cgroup that is
        not there yet or of version 1 are left to the caller.

        Args:
            selection: which processes.
            limit: how many may begin between two calls of `Selected.poll`, from 1.
            records: how many each run may have, as for `arm`.

        Raises:
            ValueError: a text of the selection is too long for the kernel, or no variable; or
                `limit` or `records` is below 1.
            RuntimeError: 8 selections are armed, or together they name more than 32 variables.
            ProbeLoadError: the kernel refused what compares processes with selections.
        """
        if limit < 1:
            raise ValueError(f"limit must be 1 at least, not {limit}")
        _check_records(records)
        if self._program.is_shared:
            # Selections are of one process: they have a program of their own.
            if self._selecting is None:
                self._selecting = Probe(Program(DEFAULT_RING_PAGES))
            return self._selecting.select(selection, limit, records)
        self._runs.make_room()
        return Selected(self._runs, self._pool, selection, limit, records)

    def measure_cost(self, pairs: int = 5) -> Cost:
        """Measure what processes that are not watched pay for each system call.

        The probe is detached meanwhile, by turns; it takes about a second per pair.

        Args:
            pairs: how often to measure with and without the probe, from 1.

        Raises:
            RuntimeError: runs or selections are armed, which would lose events; or other workers
                of the session use the probe.
        """
        if self._program.is_shared:
            raise RuntimeError("the cost is not measured while other workers use the probe")
        with self._runs.lock:
            if self._runs.free != SLOTS:
                raise RuntimeError("the cost is measured before anything is armed")
            with self.arm(new_run_id()):
                return measure(self._program.attach, self._program.detach, pairs)

    def flush(self) -> None:
        """Have the records that wait on each CPU written to the ring, where `drain` looks."""
        self._runs.flush()

    def close(self) -> None:
        """Detach and unload the probe. May be called more than once."""
        if self._selecting is not None:
            self._selecting.close()
        self._pool.close()
        self._runs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
