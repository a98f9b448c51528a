"""The peers that are measured beside the probe: strace and bpftrace.

Both record the same calls: strace gets the command line of `--tracer strace`, bpftrace the program
of `envoyassert bpftrace-script`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from typing_extensions import Self

from envoyassert.probe.strace_tracer import StraceProbe
from tests.bench.builds import ROOT, Build
from tests.bench.processes import CommandError, environment

#: How long a peer may take for what it has to do next.
_DEADLINE_S = 30.0
#: After the last event: the program looks every second for what the kernel skipped.
_SETTLE_S = 3.0
_PAUSE_S = 0.002

#: Lines of a log that are one event each, but for further memory of it.
_EVENT = re.compile(r"(?:call|wait|exec|fork|exit|signal|rename) ")
_EMITTED = re.compile(r"@seq\[\d+\]: (\d+)")
#: Where the program prints a call; behind it the stack of the caller can be printed.
_CALL_PRINTED = "$value, $at & 7, $size);"


class Bpftrace:
    """bpftrace that records every process called `envoy`; a context manager that ends it.

    Args:
        directory: for the program and its log.
        stacks: whether to print the stack of each call's caller as well.

    Raises:
        CommandError: it does not run here.
    """

    def __init__(self, directory: Path, *, stacks: bool = False) -> None:
        program = directory / "envoy.bt"
        program.write_text(_program(stacks), "utf-8")
        self._log = directory / "envoy.bpftrace.txt"
        self._errors = directory / "bpftrace.err"
        if shutil.which("bpftrace") is None:
            raise CommandError("bpftrace is not installed")
        # Its option -o would keep the log in memory for some KiB.
        with self._log.open("w") as log, self._errors.open("w") as errors:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                # It ends with the bench, however that ends.
                ["setpriv", "--pdeathsig", "KILL", "bpftrace", program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=errors,
                env=environment(),
            )
        if not self._waited(lambda lines: any(line.startswith("armed ") for line in lines)):
            self.close()
            said = self._errors.read_text("utf-8", "replace").strip().splitlines()
            raise CommandError(f"bpftrace does not start: {' / '.join(said[-3:])}")
        #: Seconds from its start until all its programs were attached.
        self.armed_after_s = time.perf_counter() - begun

    def lost(self) -> tuple[int, int]:
        """End it as Ctrl-C does, once the process that it records has ended.

        Returns:
            How many events are not in its log, and of how many.
        """
        self._waited(_has_ended, _SETTLE_S)
        self._process.send_signal(2)
        self._process.wait(_DEADLINE_S)
        lines = self._lines()
        emitted = sum(int(found[1]) for line in lines if (found := _EMITTED.match(line)))
        return emitted - sum(map(bool, map(_EVENT.match, lines))), emitted

    def close(self) -> None:
        """Leave nothing of it running. May be called more than once."""
        self._process.kill()
        self._process.wait()

    def _waited(self, holds: Callable[[list[str]], bool], deadline_s: float = _DEADLINE_S) -> bool:
        """Wait until the log satisfies a condition; return whether it does."""
        end = time.monotonic() + deadline_s
        while not holds(self._lines()):
            if self._process.poll() is not None or time.monotonic() >= end:
                return False
            time.sleep(_PAUSE_S)
        return True

    def _lines(self) -> list[str]:
        return self._log.read_text("utf-8", "replace").splitlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _program(stacks: bool) -> str:
    command = Build("now", ROOT).command("bpftrace-script")
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if not stacks:
        return text
    return with_stacks(text)


def with_stacks(program: str) -> str:
    """Return the program with the stack of the caller printed behind each call.

    Raises:
        CommandError: the place is not there.
    """
    if program.count(_CALL_PRINTED) != 1:
        raise CommandError("the program for bpftrace prints calls in another way now")
    return program.replace(_CALL_PRINTED, f"{_CALL_PRINTED}\n        print(ustack);")


def _has_ended(lines: list[str]) -> bool:
    """Whether a process has ended, and what the kernel skipped was looked for since."""
    for number, line in enumerate(lines):
        if line.startswith("exit ") and line.split()[4] == line.split()[5]:
            return "skipped end" in lines[number:]
    return False


def strace_command(directory: str, *, seccomp: bool) -> tuple[str, ...]:
    """Return what Envoy's command line begins with so that strace records it.

    Args:
        directory: Envoy's run directory.
        seccomp: whether only the calls of interest stop Envoy, or each call.

    Raises:
        StraceUnavailableError: there is none.
    """
    words = StraceProbe.load().arm("0" * 16).command(directory)
    return words if seccomp else tuple(word for word in words if word != "--seccomp-bpf")
