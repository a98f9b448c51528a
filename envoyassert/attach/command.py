"""A command that is started to be recorded, and how a session is asked to end.

The command is that of `envoyassert attach -- COMMAND`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from envoyassert.errors import LaunchError
from envoyassert.interrupts import interrupts_held
from envoyassert.launch.base import STOP_DEADLINE_S
from envoyassert.launch.inside import make_directories
from envoyassert.launch.processes import MARK, end_marked
from envoyassert.launch.release import Lifeline
from envoyassert.launch.rundir import LOGS, create_rundir, remove_rundir
from envoyassert.probe import RUN_ID_VARIABLE, Watch


@contextlib.contextmanager
def started(command: Sequence[str], arm: Watch) -> Iterator[int]:
    """Start a command for the length of a `with` block; yield its process id.

    What it prints goes to standard error, for standard output is ours. At the end it is stopped
    with SIGTERM, then killed, and so is all that it started. If this process is killed, the kernel
    kills the command and its process group, and a guard all else that has the run's mark.

    Args:
        command: the words.
        arm: what records it.

    Raises:
        LaunchError: it cannot be executed.
        MachineError: there is no place for the log of a tracer.
    """
    directory = create_rundir()
    try:
        make_directories(directory, LOGS)
        tracer = arm.command(str(directory))
        # The probe reads the environment from its start and only so far.
        mark = {} if tracer else {RUN_ID_VARIABLE: arm.run_id}
        with contextlib.ExitStack() as undo:
            undo.enter_context(_guarded(arm.run_id))
            lifeline = undo.enter_context(contextlib.closing(Lifeline()))
            with interrupts_held():
                process = undo.enter_context(_process([*tracer, *command], {**mark, **os.environ}))
                undo.callback(_stop, process, arm.run_id)
                lifeline.hold(process.pid)
            yield process.pid
    finally:
        remove_rundir(Path(directory))


#: Waits until its standard input is closed, then kills what has a mark in its environment, as long
#: as there is some: what is found last may have started more.
_GUARD = """
read -r _
while found=$(grep -lsxz "$1" /proc/[0-9]*/environ); test -n "$found"; do
    for one in $found; do one=${one%/environ}; kill -KILL "${one#/proc/}"; done
done
"""


@contextlib.contextmanager
def _guarded(run_id: str) -> Iterator[None]:
    """Have what bears the mark of a run killed if this process is, for a `with` block.

    It is there before the command is, and finds what has a session of its own.
    """
    with subprocess.Popen(
        ["sh", "-c", _GUARD, "envoyassert-guard", f"{MARK}={run_id}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as guard:
        try:
            yield
        finally:
            guard.kill()


def _process(words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,
            # A session of its own: Ctrl-C in the terminal ends the recording first.
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(
            f"{words[0]} cannot be executed: {error.strerror}", "name a program after --"
        ) from error


def _stop(process: subprocess.Popen[bytes], run_id: str) -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
    finally:
        end_marked([f"{MARK}={run_id}"], STOP_DEADLINE_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE_S)


class Stop:
    """A request to end a session, which a signal handler may make at any instant.

    Not a `threading.Event`: its `set` takes the lock that its `wait` holds for a moment, and never
    gets it where the handler interrupts that.
    """

    def __init__(self) -> None:
        self._requested = False

    def set(self) -> None:
        """Request it."""
        self._requested = True

    def is_set(self) -> bool:
        """Return whether it was requested."""
        return self._requested

    def wait(self, timeout_s: float) -> bool:
        """Wait so long at most; return whether it was requested."""
        if not self._requested:
            time.sleep(timeout_s)
        return self._requested
