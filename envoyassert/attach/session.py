"""A session of `attach`: armed first, then as many recordings at once as there are Envoys."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from envoyassert.attach.command import started
from envoyassert.attach.envoy import AttachedEnvoy
from envoyassert.attach.recording import Recorded, Recording
from envoyassert.clock import monotonic_ns
from envoyassert.live.selection import Selection
from envoyassert.probe import Tracer, Watch, new_run_id
from envoyassert.trace import Trace

#: How often it is looked whether a process that is meant has begun.
_PAUSE_S = 0.01


@dataclass(frozen=True)
class Ends:
    """When a session is over.

    Args:
        settle_s: an Envoy has settled when nothing has changed for so many seconds.
        for_s: the session is over after so many seconds; None for no limit.
        count: it is over when so many Envoys have settled or ended; 0 if all that there are have.
    """

    settle_s: float = 1.0
    for_s: float | None = None
    count: int = 0


class Teller(Protocol):
    """Who is notified while a session lasts; called from several threads."""

    def armed(self) -> None:
        """From now on no exec is missed."""

    def seen(self, number: int, trace: Trace) -> None:
        """Take the trace of an Envoy as it is now; Envoys are numbered from 1."""


@dataclass
class _Watched:
    """One recording and its thread."""

    thread: threading.Thread
    recorded: Recorded | None = None
    fault: BaseException | None = None


@dataclass
class Session:
    """Recordings that go on side by side; what ends them is set once for all.

    Args:
        selection: which processes are meant.
        ends: when it is over.
        teller: is notified.
        stop: set it to end the session at once: the traces are taken as they are.
    """

    selection: Selection
    ends: Ends
    teller: Teller
    stop: threading.Event = field(default_factory=threading.Event)
    _watched: list[_Watched] = field(default_factory=list)
    _changed_s: float = field(default_factory=time.monotonic)

    def record_command(self, command: Sequence[str], tracer: Tracer) -> list[Recorded]:
        """Start a command, and record it and all that it starts as one trace.

        Raises:
            LaunchError: it cannot be executed.
        """
        with contextlib.ExitStack() as stack:
            arm = stack.enter_context(tracer.arm(new_run_id()))
            self.teller.armed()
            began_ns = monotonic_ns()
            pid = stack.enter_context(started(command, arm))
            self._watch(arm, lambda: pid, began_ns)
            self._wait()
            return self._finish()

    def _watch(self, arm: Watch, pid_of: Callable[[], int], began_ns: int) -> None:
        number = len(self._watched) + 1

        def record() -> None:
            try:
                envoy = AttachedEnvoy(arm, pid_of(), began_ns)
                with contextlib.closing(envoy):
                    one.recorded = Recording(
                        arm,
                        envoy,
                        self.selection,
                        self.ends.settle_s,
                        self.stop,
                        lambda trace: self.teller.seen(number, trace),
                    ).run()
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits for the thread
                one.fault = error

        one = _Watched(threading.Thread(target=record, name=f"envoyassert-attach-{number}"))
        self._watched.append(one)
        self._changed_s = time.monotonic()
        one.thread.start()

    def _wait(self, look: Callable[[], None] = lambda: None) -> None:
        """Wait until the session is over, and look for more meanwhile."""
        end_s = None if self.ends.for_s is None else time.monotonic() + self.ends.for_s
        while not self.stop.wait(_PAUSE_S):
            look()
            if (end_s is not None and time.monotonic() >= end_s) or self._is_over():
                return

    def _is_over(self) -> bool:
        if not self._watched or any(one.thread.is_alive() for one in self._watched):
            self._changed_s = time.monotonic()
            return False
        if self.ends.count:
            return len(self._watched) >= self.ends.count
        return True

    def _finish(self) -> list[Recorded]:
        self.stop.set()
        for one in self._watched:
            one.thread.join()
        for one in self._watched:
            if one.fault is not None:
                raise one.fault
        return [one.recorded for one in self._watched if one.recorded is not None]
