"""A session of `attach`: armed first, then as many recordings at once as there are Envoys."""

from __future__ import annotations

import contextlib
import queue
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from envoyassert.attach.command import Stop, started
from envoyassert.attach.place import where_is
from envoyassert.clock import monotonic_ns
from envoyassert.errors import MachineError, NoProcessError, SeveralProcessesError
from envoyassert.launch.processes import environment_of
from envoyassert.live.arguments import envoy_arguments_of
from envoyassert.live.place import fits
from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import Arm, Probe, Tracer, Watch, new_run_id

if TYPE_CHECKING:
    from envoyassert.attach.envoy import AttachedEnvoy
    from envoyassert.attach.recording import Recorded, Recording
    from envoyassert.trace import Trace

#: How often it is looked whether a process that is meant has begun.
_PAUSE_S = 0.01
_DRAIN_S = 10.0
#: So many places of others are kept, for the message that none was meant.
_MOST_PLACES = 3


@dataclass(frozen=True)
class Ends:
    """When a session is over.

    Args:
        settle_s: an Envoy has settled when nothing has changed for so many seconds.
        for_s: the session is over after so many seconds; None for no limit.
        count: it is over when so many Envoys have settled or ended; 0 if all that there are have.
        forever: whether it goes on for further Envoys.
        follow: whether each recording goes on once its Envoy has settled.
        records: how many records each trace may have; None for no limit. After the last one
            nothing of it is recorded any more.
    """

    settle_s: float = 1.0
    for_s: float | None = None
    count: int = 0
    forever: bool = False
    follow: bool = False
    records: int | None = None


class Observer(Protocol):
    """Who is notified while a session lasts."""

    def armed(self) -> None:
        """From now on no exec is missed."""

    def seen(self, number: int, trace: Trace) -> None:
        """Take the trace of an Envoy as it is now; Envoys are numbered from 1.

        Called from several threads.
        """

    def phase_ended(self, number: int, name: str) -> None:
        """Take note that a phase of an Envoy has ended; called from several threads."""

    def recorded(self, number: int, recorded: Recorded) -> None:
        """Take the trace of an Envoy that has settled or ended, or was cut short by the end."""


@dataclass
class Others:
    """Processes of that name that were not recorded.

    Args:
        elsewhere: where some of them were, in words.
        unplaced: how many had ended before it was known where they were.
        silent: how many only said something: `--version`, `--mode validate`.
        missed: how many were not watched, for too many began at once.
    """

    elsewhere: list[str] = field(default_factory=list)
    unplaced: int = 0
    silent: int = 0
    missed: int = 0


class AttachSession:
    """Recordings that go on side by side.

    Args:
        selection: which processes are meant.
        ends: when it is over.
        observer: is notified.
        stop: set it to end the session at once: the traces are taken as they are.
    """

    def __init__(
        self, selection: ProcessSelection, ends: Ends, observer: Observer, stop: Stop
    ) -> None:
        self._selection = selection
        self._ends = ends
        self._observer = observer
        self._stop = stop
        #: For what several threads change: the three below.
        self._lock = threading.Lock()
        self._begun = 0
        self._recordings: list[Recording] = []
        self.others = Others()
        self._threads: list[threading.Thread] = []
        self._done: queue.SimpleQueue[tuple[int, Recorded] | BaseException] = queue.SimpleQueue()

    def record_command(self, command: Sequence[str], tracer: Tracer) -> None:
        """Start a command, and record it and all that it starts as one trace.

        Raises:
            LaunchError: it cannot be executed.
        """
        with contextlib.ExitStack() as stack:
            limited = self._limited() if isinstance(tracer, Probe) else {}
            arm = stack.enter_context(tracer.arm(new_run_id(), **limited))
            self._observer.armed()
            from envoyassert.attach.envoy import AttachedEnvoy

            began_ns = monotonic_ns()
            pid = stack.enter_context(started(command, arm))
            self._in_thread(lambda: self._record(arm, AttachedEnvoy(arm, pid, began_ns)))
            self._wait(lambda: None)

    def record_matching(self, probe: Probe) -> None:
        """Record each process that is meant, from its exec on, as a trace of its own.

        Raises:
            MachineError: too much is recorded on this machine already, or asked for.
        """
        try:
            selected = probe.select(self._selection, **self._limited())
        except (ValueError, RuntimeError) as error:
            raise MachineError(str(error), "ask for less, or end other sessions") from error
        with selected:
            self._observer.armed()

            def look() -> None:
                for arm in selected.poll():
                    self._in_thread(partial(self._take, arm))

            self._wait(look)
            self.others.missed = selected.missed

    def _limited(self) -> dict[str, int]:
        return {} if self._ends.records is None else {"records": self._ends.records}

    def _take(self, arm: Arm) -> None:
        """Record a process that has just begun, if it is where it is meant to be."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(arm)
            arm.drain(_DRAIN_S)
            executed = next((e for e in arm.snapshot().events if e.call == "exec"), None)
            if executed is None:
                self._passed_over(unplaced=1)  # the record of its exec was lost
                return
            place = where_is(executed.pid)
            if self._selection.needs_place:
                if place is None:
                    self._passed_over(unplaced=1)
                    return
                if not fits(self._selection, place):
                    self._passed_over(elsewhere=place.in_words())
                    return
            arguments = envoy_arguments_of(executed.args["argv"])
            if not arguments.serves:
                self._passed_over(silent=1)
                return
            from envoyassert.attach.envoy import AttachedEnvoy

            envoy = AttachedEnvoy(arm, executed.pid, executed.ts_ns, place)
            if arguments.restart_epoch:
                envoy.learn(executed)
                with self._lock:
                    recordings = list(self._recordings)
                if any(recording.join(arm, envoy) for recording in recordings):
                    stack.pop_all()  # the recording has both now
                    return
            self._record(arm, envoy)

    def _record(self, arm: Watch, envoy: AttachedEnvoy) -> None:
        with self._lock:
            self._begun += 1
            number = self._begun
        from envoyassert.attach.recording import Recording

        with contextlib.closing(envoy):
            recording = Recording(
                arm,
                envoy,
                self._selection,
                self._ends.settle_s,
                self._stop,
                lambda trace: self._observer.seen(number, trace),
                follow=self._ends.follow,
                phase_ended=lambda name: self._observer.phase_ended(number, name),
            )
            with self._lock:
                self._recordings.append(recording)
            try:
                self._done.put((number, recording.run()))
            finally:
                with self._lock:
                    self._recordings.remove(recording)

    def _passed_over(self, *, unplaced: int = 0, silent: int = 0, elsewhere: str = "") -> None:
        others = self.others
        with self._lock:
            others.unplaced += unplaced
            others.silent += silent
            if elsewhere and elsewhere not in others.elsewhere:
                others.elsewhere.append(elsewhere)
                del others.elsewhere[:-_MOST_PLACES]

    def _in_thread(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits for the thread
                self._done.put(error)

        thread = threading.Thread(target=guarded, name="envoyassert-attach")
        self._threads.append(thread)
        thread.start()

    def _wait(self, look: Callable[[], None]) -> None:
        """Wait until the session is over; look for more, and hand over what is done."""
        end_s = None if self._ends.for_s is None else time.monotonic() + self._ends.for_s
        try:
            while not self._stop.wait(_PAUSE_S):
                look()
                self._hand_over()
                if (end_s is not None and time.monotonic() >= end_s) or self._is_over():
                    break
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
        self._hand_over()

    def _hand_over(self) -> None:
        while not self._done.empty():
            done = self._done.get()
            if isinstance(done, BaseException):
                raise done
            self._observer.recorded(*done)

    def _is_over(self) -> bool:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._threads or not self._begun or not self._done.empty() or self._ends.forever:
            return False
        return self._begun >= self._ends.count


def running_already(selection: ProcessSelection) -> list[int]:
    """Return the processes that are meant and run already: nothing of their start is seen.

    Args:
        selection: which are meant. The executable is both what was given to execve(2), and the
            file that this led to.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        pid = int(entry.name)
        try:
            # What the kernel appends where the file was replaced meanwhile.
            executable = str((entry / "exe").readlink()).removesuffix(" (deleted)")
            user = _real_user(entry)
        except OSError:
            continue  # ended, or a thread of the kernel's
        environment = [word.decode("utf-8", "surrogateescape") for word in environment_of(pid)]
        place = where_is(pid) if selection.needs_place else None
        if (
            any(map(selection.accepts_executable, (executable, _executed(entry))))
            and selection.accepts_environment(environment)
            and selection.uid in (None, user)
            and (not selection.needs_place or (place is not None and fits(selection, place)))
        ):
            found.append(pid)
    return sorted(found)


def _real_user(process: Path) -> int:
    """Return the real user id of a process, by its directory below /proc (proc(5), status)."""
    status = (process / "status").read_text("utf-8", "replace")
    found = re.search(r"^Uid:\s(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else -1


def _executed(process: Path) -> str:
    """Return the path that was given to execve(2), "" if that is not known.

    The kernel leaves it on the stack of the program (getauxval(3), AT_EXECFN), which may change it.
    """
    with contextlib.suppress(OSError, struct.error, ValueError, OverflowError):
        auxiliary = (process / "auxv").read_bytes()
        for key, address in struct.iter_unpack("=QQ", auxiliary):
            if key == _AT_EXECFN:
                with (process / "mem").open("rb", buffering=0) as memory:
                    memory.seek(address)
                    path = memory.read(_LONGEST_PATH).partition(b"\0")[0]
                    return path.decode("utf-8", "surrogateescape")
    return ""


#: linux/auxvec.h, and linux/limits.h.
_AT_EXECFN = 31
_LONGEST_PATH = 4096
_WORKER = "wrk:worker_"


def chosen_running(selection: ProcessSelection, *, everyone: bool) -> list[int]:
    """Return the Envoys that are meant, by their processes as seen from here.

    Args:
        selection: what they must be.
        everyone: whether there may be several.

    Raises:
        MachineError: there is none, but Envoys that this process may not look at.
        NoProcessError: there is none.
        SeveralProcessesError: there are several, and only one may be.
    """
    running = running_already(selection)
    found = [pid for pid in running if _has_workers(pid)]
    if not found and running:
        listed = ", ".join(map(str, running))
        raise NoProcessError(
            f"what runs that is {selection.in_words()} has no worker threads: process {listed}",
            "wait until Envoy has started its workers, or name another process",
        )
    if not found:
        for pid in _closed():
            from envoyassert.witness.running import closed_meanwhile

            raise closed_meanwhile(pid)
        elsewhere = running_already(selection.anywhere()) if selection.needs_place else []
        listed = "".join(f"\n  --pid {one}  {_words_of(one)}" for one in elsewhere)
        raise NoProcessError(
            f"no Envoy runs that is {selection.in_words()}"
            + (f"; elsewhere there {_are(len(elsewhere))}{listed}" if elsewhere else ""),
            "see `pgrep -a envoy`; an Envoy under another name: --exe NAME",
        )
    if len(found) > 1 and not everyone:
        listed = "\n".join(f"  --pid {one}  {_words_of(one)}" for one in found)
        raise SeveralProcessesError(
            f"{len(found)} Envoys run that are {selection.in_words()}\n{listed}",
            "name one by --pid, or take --all",
        )
    return found


def _closed() -> Iterator[int]:
    """Yield the Envoys of which this process may not learn what they execute."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                (entry / "exe").readlink()
            except PermissionError:
                if _has_workers(int(entry.name)):
                    yield int(entry.name)
            except OSError:
                pass  # ended, or a thread of the kernel's


def _has_workers(pid: int) -> bool:
    from envoyassert.witness.running import thread_names_of

    return any(name.startswith(_WORKER) for name in thread_names_of([pid]).values())


def _are(number: int) -> str:
    return "is one" if number == 1 else f"are {number}"


def _words_of(pid: int) -> str:
    from envoyassert.witness.running import ask_tasks

    found, place = ask_tasks([pid]), where_is(pid)
    if not found or place is None:
        return "(it has ended)"
    return f"{' '.join(found[0].argv)}  ({place.in_words()})"
