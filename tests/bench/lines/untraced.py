"""What a process that nothing records pays for each of its calls while others are recorded."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from tests.bench.builds import kept_bytecode
from tests.bench.peers import Bpftrace
from tests.bench.processes import CommandError
from tests.bench.row import Row, figure, ratios
from tests.bench.session import Session
from tests.bench.starts import DETACHED_S

SESSIONS = 4
#: The workers of one session together may cost what one probe costs; a tenth is noise.
WORKERS_LIMIT = 1.1
BESIDE_BPFTRACE = 1.0
#: Calls whose time is taken together. The shortest of so many such portions counts: what others do
#: on the machine only adds to it.
_CALLS, _PORTIONS = 500, 400
_DEADLINE_S = 60.0

#: Each worker of the session gets one of these tests, and holds its probe until the lock is free.
_HOLDERS = f"""
import contextlib, fcntl, os, pathlib, pytest
from envoyassert.probe import load_tracer, new_run_id

@pytest.mark.parametrize("number", range({SESSIONS}))
def test_hold(number):
    tracer = load_tracer(session=os.environ["PYTEST_XDIST_TESTRUNUID"])
    with contextlib.closing(tracer), tracer.arm(new_run_id()):
        pathlib.Path(f"armed-{{number}}").touch()
        with open("lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
"""


def measure(session: Session, line: str, pairs: int) -> Iterator[Row]:
    """Yield loops of getpid(2) and close(2) with 0, 1 and 4 sessions armed, and under bpftrace."""
    state: dict[str, Callable[[], contextlib.AbstractContextManager[object]]] = {
        "nothing": contextlib.nullcontext,
        "one": lambda: _sessions(session, 1),
        "four": lambda: _sessions(session, SESSIONS),
        "workers": lambda: _workers(session),
        "bpftrace": lambda: Bpftrace(session.directory),
    }
    loops = {"getpid": os.getpid, "close": _failing_close()}
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(pairs):
        # Forwards and backwards by turns, as for pairs.
        for name in list(state)[:: -1 if number % 2 else 1]:
            with state[name]():
                for call, loop in loops.items():
                    found.setdefault((call, name), []).append(_seconds_per_call(loop))
            time.sleep(DETACHED_S)
    for call in loops:
        yield from _rows(line, call, {name: found[call, name] for name in state})


def _rows(line: str, call: str, found: dict[str, list[float]]) -> Iterator[Row]:
    what = f"untraced `{call}` loop"
    middle = {name: figure(statistics.median(times), "s") for name, times in found.items()}
    plain = found["nothing"]
    price = {
        name: [time_s - least for time_s, least in zip(times, plain, strict=True)]
        for name, times in found.items()
    }
    for name, said, limit in (
        ("workers", f"4 workers of one session armed (`-n {SESSIONS}`)", WORKERS_LIMIT),
        ("four", f"{SESSIONS} sessions armed", None),
    ):
        seen = f"{middle['nothing']} plain, {middle['one']} with one, {middle[name]} with all"
        row = Row(line, f"{what}, {said}: added", "1 session", limit=limit, seen=seen)
        if min(price["one"]) > 0:
            yield replace(row, values=ratios(price["one"], price[name]))
        else:
            yield replace(row, error=f"too noisy to say what one session adds: {seen}")
    values = ratios(found["bpftrace"], found["one"])
    seen = f"{middle['bpftrace']} to {middle['one']}"
    yield Row(line, f"{what}, 1 session armed", "bpftrace armed", values, "", BESIDE_BPFTRACE, seen)


def _failing_close() -> Callable[[], object]:
    """Return a call of close(2) of no descriptor, without the exception of os.close."""
    close, none = ctypes.PyDLL(None).close, ctypes.c_int(-1)
    return lambda: close(none)


def _seconds_per_call(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_PORTIONS):
        begun = time.thread_time_ns()
        for _ in repeat(None, _CALLS):
            call()
        times.append((time.thread_time_ns() - begun) / _CALLS / 1e9)
    return min(times)


@contextlib.contextmanager
def _sessions(session: Session, count: int) -> Iterator[None]:
    """Have so many processes hold a probe each, which is armed."""
    command = [session.now.python, str(Path(__file__).parents[1] / "work" / "hold.py")]
    with contextlib.ExitStack() as stack:
        holders = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=session.directory,
                    env=kept_bytecode(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(count)
        ]
        for holder in holders:
            stack.callback(holder.kill)
        for holder in holders:
            assert holder.stdout is not None
            if holder.stdout.readline() != "armed\n":
                raise CommandError("a session cannot load and arm the probe")
        yield
        for holder in holders:
            holder.communicate(timeout=_DEADLINE_S)


@contextlib.contextmanager
def _workers(session: Session) -> Iterator[None]:
    """Have the workers of one session of pytest hold the probe, armed."""
    directory = session.directory / "workers"
    directory.mkdir(exist_ok=True)
    for armed in directory.glob("armed-*"):
        armed.unlink()
    (directory / "test_hold.py").write_text(_HOLDERS, "utf-8")
    command = [session.now.python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with (directory / "lock").open("w") as lock, (directory / "output").open("w") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [*command, "-n", str(SESSIONS), "test_hold.py"],
            cwd=directory,
            env=kept_bytecode(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            end = time.monotonic() + _DEADLINE_S
            while len(list(directory.glob("armed-*"))) < SESSIONS:
                if process.poll() is not None or time.monotonic() >= end:
                    said = (directory / "output").read_text("utf-8", "replace")
                    raise CommandError(f"the workers do not arm: {said[-200:]}")
                time.sleep(0.01)
            yield
            fcntl.flock(lock, fcntl.LOCK_UN)
            process.wait(_DEADLINE_S)
        finally:
            process.kill()
            process.wait()
