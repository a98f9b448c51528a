"""strace(1) as a tracer: in place of the probe, or beside it as a second witness.

strace starts Envoy itself: with `-D` it becomes a child of Envoy's parent, so that Envoy's process
is the one that was started, and with `--seccomp-bpf` only the calls that are asked for stop Envoy.
The run id is put into the environment of Envoy alone (`-E`), so the probe marks Envoy at its exec
and never strace.

A line is written before the thread that made the call goes on (strace flushes each), so all that
happened before an answer of Envoy's is in the log once the answer is here.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from typing_extensions import Self

from envoyassert.accounts import SecondWitness
from envoyassert.clock import monotonic_ns
from envoyassert.errors import Capability, StraceUnavailableError
from envoyassert.events import Event
from envoyassert.launch.inside import open_regular
from envoyassert.launch.kernel import lives_untraced, tracer_of
from envoyassert.launch.programs import find_program, run_program
from envoyassert.launch.rundir import LOGS
from envoyassert.option_read_back import Option
from envoyassert.probe.live import RUN_ID_VARIABLE, ProbeSnapshot
from envoyassert.probe.traced_runs import RunCounters
from envoyassert.strace.lines import RepeatedWaits
from envoyassert.strace.log import TRACED, UNOBSERVED, StraceLog, parse_strace
from envoyassert.trace import CpuCounters

#: `--seccomp-bpf` came with 5.3, `--syscall-times` with 5.6.
_OLDEST = (5, 6)
_INSTALL = "install strace 5.6 or newer (apt-get install strace)"
_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
#: How long it may take to say its version.
_ANSWER_S = 10.0
_LOG = "strace.log"
#: Longer texts are cut; a path is never.
_STRING_LENGTH = 4096
_PAUSE_S = 0.005


def find_strace() -> tuple[str, str]:
    """Return path and version of the strace that would be used.

    Raises:
        StraceUnavailableError: there is none, it is too old, or it may not trace.
    """
    found = find_program("strace")
    if found is None:
        raise StraceUnavailableError("strace is not installed", _INSTALL)
    try:
        said = run_program([found, "-V"], _ANSWER_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    version = re.search(r"version (\d+)\.(\d+)", said)
    if version is None:
        raise StraceUnavailableError(f"{found} does not say its version", _INSTALL)
    if (int(version[1]), int(version[2])) < _OLDEST:
        raise StraceUnavailableError(f"strace {version[1]}.{version[2]} is too old", _INSTALL)
    if _PTRACE_SCOPE.exists() and _PTRACE_SCOPE.read_text("ascii").strip() == "3":
        raise StraceUnavailableError(
            "this kernel forbids tracing (kernel.yama.ptrace_scope is 3)",
            "use the tracer ebpf as root, or a machine where ptrace(2) is allowed",
        )
    return found, f"{version[1]}.{version[2]}"


def strace_capability() -> Capability:
    """Return whether strace can be used, as a tracer or as a second witness."""
    try:
        path, version = find_strace()
    except StraceUnavailableError as error:
        return Capability("strace", False, error.message, error.remedy)
    return Capability("strace", True, f"strace {version} in {path}", "")


class StraceArm:
    """One run that strace watches, once Envoy is started by `command`; see `Arm`.

    Args:
        run_id: what Envoy is marked with.
        executable: path of strace.
    """

    tracer = "strace"
    unobserved = UNOBSERVED

    def __init__(self, run_id: str, executable: str) -> None:
        self.run_id = run_id
        self._executable = executable
        self._directory = ""
        self._log = StraceLog([], False, False, [])
        self._whole = False
        self._lines: list[str] = []
        self._waits = RepeatedWaits()
        self._read_bytes = 0

    def command(self, directory: str) -> tuple[str, ...]:
        """Return what Envoy's command line begins with.

        Args:
            directory: the run directory.
        """
        self._directory = directory
        calls = ",".join(f"?{call}" for call in TRACED)
        return (
            *(self._executable, "-D", "-f", "--seccomp-bpf", "-v", "-s", str(_STRING_LENGTH)),
            *("--absolute-timestamps=format:unix,precision:ns", "--syscall-times=ns"),
            *("-o", f"{directory}/{LOGS}/{_LOG}", "-e", f"trace={calls}"),
            # Not without signals: of a thread that one kills the end is not printed then.
            *("-E", f"{RUN_ID_VARIABLE}={self.run_id}"),
        )

    def drain(self, deadline_s: float) -> None:
        """Read the log; of an Envoy that has ended, once strace has written its end.

        Args:
            deadline_s: how long to wait for that. If strace has ended before Envoy, nothing more
                is to come.
        """
        end = time.monotonic() + deadline_s
        while True:
            traced = self._is_traced()
            self._read()
            self._whole = traced or self._log.ended
            if self._whole or self._is_abandoned() or time.monotonic() >= end:
                return
            time.sleep(_PAUSE_S)

    def snapshot(self) -> ProbeSnapshot:
        """Return what the log had when it was read last."""
        events = list(self._log.events)
        counters = CpuCounters(0, len(events), 0)
        problems = len(self._log.problems)
        return ProbeSnapshot(events, (counters,), problems, self._whole, self._log.marked)

    def options(self) -> frozenset[Option]:
        """Return which socket options were set when the log was read last, by level and name."""
        calls = [event.args for event in self._log.events if event.call == "setsockopt"]
        return frozenset((args["level"], args["name"]) for args in calls)

    def injected(self) -> list[Event]:
        """Return the calls that it made fail, when the log was read last."""
        return list(self._log.injected)

    def counters(self) -> RunCounters:
        """Return how much there is by now."""
        self._read()
        events = self._log.events
        registrations = sum(event.call == "epoll_ctl" and event.ok for event in events)
        return RunCounters(len(events), 0, 0, int(self._log.marked), registrations)

    def second(self, until_ns: int) -> None:
        """Return nothing: there is no other record of the run."""

    def record(self, until_ns: int) -> SecondWitness:
        """Return what the log has as the record of a second witness.

        Args:
            until_ns: CLOCK_MONOTONIC nanoseconds before the probe's records were read.
        """
        problems = list(self._log.problems)
        if not self._whole:
            problems.append("strace ended before Envoy")
        return SecondWitness("strace", until_ns, tuple(problems), list(self._log.events))

    def disarm(self) -> None:
        """Do nothing: strace ends with Envoy."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.disarm()

    def _read(self) -> None:
        self._lines += (line for line in self._new_lines() if not self._waits.has(line))
        offset_ns = monotonic_ns() - time.time_ns()
        self._log = parse_strace(self._lines, f"{RUN_ID_VARIABLE}={self.run_id}", offset_ns)

    def _new_lines(self) -> Iterator[str]:
        """Return the lines that were written since it was last called."""
        try:
            # The run directory is Envoy's user's, who may put anything in the log's place.
            opened = open_regular(self._directory, f"{LOGS}/{_LOG}")
        except OSError:
            return  # not there yet
        with os.fdopen(opened, "rb") as log:
            log.seek(self._read_bytes)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # it is being written
                self._read_bytes += len(line)
                yield line[:-1].decode("utf-8", "surrogateescape")

    def _is_traced(self) -> bool:
        """Whether a process of the run lives, and is being traced."""
        return any(tracer_of(event.pid) is not None for event in self._log.events[:1])

    def _is_abandoned(self) -> bool:
        """Whether the run's first process lives, and strace does not."""
        return any(lives_untraced(event.pid) for event in self._log.events[:1])


class StraceProbe:
    """strace in place of the probe; see `Probe`. A context manager."""

    def __init__(self, executable: str) -> None:
        self._executable = executable

    @classmethod
    def load(cls) -> StraceProbe:
        """Return it, if this machine can.

        Raises:
            StraceUnavailableError: it cannot; the remedy says what is missing.
        """
        return cls(find_strace()[0])

    def arm(self, run_id: str) -> StraceArm:
        """Begin to watch a run."""
        return StraceArm(run_id, self._executable)

    def close(self) -> None:
        """Do nothing: nothing is loaded."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
