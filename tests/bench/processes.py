"""Run a command, and take the time, the processor time and the memory that it took."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: A command that takes longer than this hangs.
DEADLINE_S = 900.0
#: How often the memory of all processes is added up.
_SAMPLE_S = 0.01
_MIB = 2**20
#: A variable that was given on make's command line (GNU make's manual, "Options/Recursion").
_GIVEN_TO_MAKE = re.compile(r"(?:^|\s)(\w+)=")
#: The small process that starts a command and waits for it.
_MEASURED = Path(__file__).parent / "work" / "measured.py"


class CommandError(Exception):
    """A command ended otherwise than it must; the text has its last lines."""


@dataclass(frozen=True)
class Usage:
    """What a command took, with the children that it waited for.

    Args:
        wall_s: seconds on the clock.
        cpu_s: seconds of processor time.
        peak_mib: resident memory of the process that had most of it, in MiB.
        together_mib: most memory of all its processes at one instant, shared pages counted once,
            in MiB; 0 if it was not asked for.
        output: what it printed.
        code: how it exited.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float
    together_mib: float
    output: str
    code: int


def environment() -> dict[str, str]:
    """Return the environment of a command that is measured.

    Bytecode is kept, as an installed package has it. What would change pytest is left out, and what
    was said to the make that runs this: another make would take it as said to itself.
    """
    left_out = {"PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS"}
    left_out |= {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
    left_out.update(_GIVEN_TO_MAKE.findall(os.environ.get("MAKEFLAGS", "")))
    return {name: value for name, value in os.environ.items() if name not in left_out}


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    codes: Sequence[int] = (0,),
    deadline_s: float = DEADLINE_S,
    add_up: bool = False,
) -> Usage:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        cwd: where.
        env: its environment; that of `environment` if None.
        codes: how it may exit.
        deadline_s: it is killed after so many seconds, with its children.
        add_up: also add up the memory of all processes, again and again: that costs time.

    Raises:
        CommandError: it exited otherwise, or took longer.
    """
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile() as figures:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_MEASURED), figures.name, *command],
            cwd=cwd,
            env=environment() if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with _added_up(process.pid, add_up) as sums:
                process.wait(deadline_s)
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{_named(command)} took more than {deadline_s:g} s") from error
        finally:
            if process.poll() is None:
                _kill(process.pid)
                process.wait()
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
        if process.returncode:
            raise CommandError(f"{_named(command)} was not started: {_last(said)}")
        found = json.loads(figures.read())
    code = found.pop("code")
    if code not in codes:
        raise CommandError(f"{_named(command)} ended with {code}: {_last(said)}")
    together_mib = max(sums, default=0) / _MIB
    return Usage(**found, together_mib=together_mib, output=said, code=code)


def _named(command: Sequence[str]) -> str:
    return " ".join(command)[:120]


def _last(said: str) -> str:
    return " / ".join(said.strip().splitlines()[-3:])[-200:]


def _kill(pid: int) -> None:
    """Kill a command with the children that are in its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@contextlib.contextmanager
def _added_up(pid: int, wanted: bool) -> Iterator[list[int]]:
    """Yield a list that gets the memory of all processes below one, in bytes."""
    sums: list[int] = []
    if not wanted:
        yield sums
        return
    done = threading.Event()

    def look() -> None:
        while not done.wait(_SAMPLE_S):
            sums.append(sum(map(_proportional_bytes, _family(pid)[1:])))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield sums
    finally:
        done.set()
        thread.join()


def _family(pid: int) -> list[int]:
    """Return a process and all that are below it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text("ascii").split():
                found += _family(int(child))
    return found


def _proportional_bytes(pid: int) -> int:
    """Return the memory of a process, of each shared page its part of it (Pss of proc(5))."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
