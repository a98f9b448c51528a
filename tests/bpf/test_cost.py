"""What the probe costs the machine, and that it changes nothing of it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import Probe, new_run_id
from tests.bpf.conftest import CHILD_S, DRAIN_S, TARGET, run_python, start
from tests.bpf.kernel_objects import exists

pytestmark = pytest.mark.bpf

LIBC = ctypes.CDLL(None, use_errno=True)


def test_cost_of_a_call_is_measured_and_the_probe_records_as_before():
    with Probe.load(ring_pages=64) as probe:
        cost = probe.measure_cost(pairs=2)
        assert cost.pairs == 2
        assert cost.plain_ns > 0
        assert cost.least_ns <= cost.ns_per_call <= cost.most_ns
        assert cost.in_words().endswith(" in 2 pairs)")

        with probe.arm(new_run_id()) as arm:
            run_python("libc.listen(-1, 7)", arm.run_id)
            arm.drain(DRAIN_S)
            events = arm.snapshot().events
            assert [e.args["backlog"] for e in events if e.call == "listen"] == [7]


def test_cost_is_not_measured_while_something_is_armed(probe):
    with probe.arm(new_run_id()), pytest.raises(RuntimeError, match="before anything is armed"):
        probe.measure_cost()
    with (
        probe.select(ProcessSelection("envoy"), limit=1),
        pytest.raises(RuntimeError, match="before anything is armed"),
    ):
        probe.measure_cost()


RECORDER = """
import resource, sys, time
from pathlib import Path
from envoyassert.live.selection import ProcessSelection
from envoyassert.probe import Probe

def limits():
    return {name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource) if name.startswith("RLIMIT_")}

def ids(kind):
    for info in Path("/proc/self/fdinfo").iterdir():
        for line in info.read_text().splitlines() if info.exists() else ():
            name, _, value = line.partition(":")
            if name == kind:
                yield int(value)

before = limits()
probe = Probe.load(ring_pages=64)
selected = probe.select(ProcessSelection(sys.argv[1]), records=10)
assert limits() == before
print(*ids("prog_id"))
print(*ids("map_id"))
print("armed", flush=True)
sys.stdin.read()
probe.close()
print("closed", flush=True)
"""


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "closed"])
def test_recorder_that_ends_leaves_nothing_and_changes_no_limit_and_loads_no_module(
    program, tmp_path, killed
):
    modprobe, called = tmp_path / "modprobe", tmp_path / "called"
    modprobe.write_text(f"#!/bin/sh\necho $* >>{called}\n")
    modprobe.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-c", RECORDER, TARGET],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as recorder:
        assert recorder.stdout is not None
        found = [("program", int(number)) for number in recorder.stdout.readline().split()]
        found += [("map", int(number)) for number in recorder.stdout.readline().split()]
        assert recorder.stdout.readline() == "armed\n"
        assert len(found) > 10
        assert all(exists(kind, number) for kind, number in found)
        start(program(TARGET), 1)
        if killed:
            recorder.send_signal(signal.SIGKILL)
        left, _ = recorder.communicate(timeout=CHILD_S)
        assert left == ("" if killed else "closed\n")
    # The kernel frees them a moment after the last descriptor is closed.
    end = time.monotonic() + CHILD_S
    while any(exists(kind, number) for kind, number in found) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [one for one in found if exists(*one)]
    assert not called.exists()
