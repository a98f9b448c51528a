"""What a session gives up once its tracer is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
from envoyassert.probe.privileges import give_up_privileges
def show(path):
    for line in Path(path).read_text().splitlines():
        if line.startswith("Cap"):
            print(line.split()[1])
show("/proc/self/status")
give_up_privileges()
show("/proc/self/status")
import subprocess
subprocess.run(["grep", "^CapEff", "/proc/self/status"], check=True)
"""
#: linux/capability.h
SYS_RAWIO, SYS_ADMIN, SYS_PTRACE, SYS_BOOT, SYSLOG, BPF = 17, 21, 19, 22, 34, 39


def shown(*before: str) -> list[int]:
    done = subprocess.run(
        [*before, sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    return [int(line.split()[-1], 16) for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
def test_what_nothing_needs_is_given_up_and_what_runs_need_stays() -> None:
    before, after, (child,) = (found := shown())[:5], found[5:10], found[10:]
    lost = before[1] & ~after[1]
    for bit in (SYS_RAWIO, SYS_BOOT, SYSLOG):
        assert lost >> bit & 1 == before[1] >> bit & 1 == 1
    for bit in (SYS_ADMIN, SYS_PTRACE, BPF):
        assert after[1] >> bit & 1 == before[1] >> bit & 1
    # Permitted, effective, bounding; and what is started has no more.
    assert after[1] == after[2] == after[3] == child


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be without one")
def test_process_that_may_not_give_up_anything_goes_on() -> None:
    found = shown("setpriv", "--bounding-set=-setpcap", "--inh-caps=-setpcap")
    assert found[:5] == found[5:10]
