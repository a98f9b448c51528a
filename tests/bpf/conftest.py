from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from envoyassert.events import Event
from envoyassert.probe import (
    RUN_ID_VARIABLE,
    Arm,
    Probe,
    ProbeSnapshot,
    new_run_id,
    probe_capability,
)

# More than anything takes here, on a machine with other work too.
DRAIN_S = CHILD_S = 30.0

# Calls between two failing dups of these descriptors are those that a test is about.
FIRST_MARK, LAST_MARK = 9998, 9999

PREAMBLE = f"""
import ctypes, errno, json, os, socket, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def begin(): libc.dup({FIRST_MARK})
def end(**reported):
    libc.dup({LAST_MARK})
    print(json.dumps(reported))
def call(number, *arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
def sockaddr(family, port, address, rest=b""):
    return struct.pack("=H", family) + struct.pack("!H", port) + address + rest
"""


@pytest.fixture(scope="session")
def require_bpf() -> None:
    """Skip where the machine cannot load the probe; fail if ENVOYASSERT_REQUIRE names bpf."""
    missing = [item for item in probe_capability() if not item.ok]
    if not missing:
        return
    reason = f"{missing[0].detail}; remedy: {missing[0].remedy}"
    if "bpf" in os.environ.get("ENVOYASSERT_REQUIRE", "").split(","):
        pytest.fail(f"bpf is required here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def probe(require_bpf: None) -> Iterator[Probe]:
    # Room for all that a test writes: a machine with other work may let no one read for a second.
    with Probe.load(ring_pages=16384) as loaded:
        yield loaded


@pytest.fixture
def arm(probe: Probe) -> Iterator[Arm]:
    with probe.arm(new_run_id()) as armed:
        yield armed


def environment(run_id: str | None) -> dict[str, str]:
    """Return a small environment, with the run id if there is one."""
    plain = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    return plain if run_id is None else {RUN_ID_VARIABLE: run_id, **plain}


def run_python(code: str, run_id: str | None, *wrapper: str, status: int = 0) -> str:
    """Run a script in a child, behind a wrapper command if one is given; return what it printed."""
    command = [*wrapper, sys.executable, "-I", "-S", "-c", PREAMBLE + code]
    done = subprocess.run(
        command,
        env=environment(run_id),
        stdout=subprocess.PIPE,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    assert done.returncode == status
    return done.stdout


@dataclass
class Child:
    """What a traced script did.

    Args:
        snapshot: everything the probe saw.
        reported: keyword arguments that the script gave to `end`.
    """

    snapshot: ProbeSnapshot
    reported: dict[str, Any]

    @property
    def marked(self) -> list[Event]:
        """The events of the main thread's process between `begin` and `end`."""
        events = self.snapshot.events
        marks = {
            event.args["fd"]: index
            for index, event in enumerate(events)
            if event.call == "dup" and event.args["fd"] in (FIRST_MARK, LAST_MARK)
        }
        return events[marks[FIRST_MARK] + 1 : marks[LAST_MARK]]


Trace = Callable[..., Child]


@pytest.fixture
def trace(arm: Arm) -> Trace:
    """Return a function that runs a script traced and returns what it did."""

    def run(code: str, *wrapper: str, status: int = 0) -> Child:
        printed = run_python(code, arm.run_id, *wrapper, status=status)
        arm.drain(DRAIN_S)
        snapshot = arm.snapshot()
        assert snapshot.drained
        reported = json.loads(printed.splitlines()[-1]) if printed.strip() else {}
        return Child(snapshot, reported)

    return run


#: The name of the targets, which nothing else on the machine has.
TARGET = f"ea-{os.getpid()}"
#: What a target does: a call that is recorded, with a number that says which one it was.
LISTENS = "import ctypes, sys; ctypes.CDLL(None).listen(-1, int(sys.argv[1]))"


@pytest.fixture
def program(tmp_path):
    """Return a function that makes a program of a given name and returns its path."""

    def make(name: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.symlink_to(Path(sys.executable).resolve())
        return str(path)

    return make


def command(path: str, number: int) -> list[str]:
    return [path, "-I", "-S", "-c", LISTENS, str(number)]


def start(path: str, number: int, *wrapper: str, **options) -> None:
    """Run a target to its end."""
    options.setdefault("env", environment(None))
    subprocess.run([*wrapper, *command(path, number)], timeout=CHILD_S, check=True, **options)
