"""Which process is Envoy: the one that has workers, whoever started it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envoyassert.launch.processes import envoy_among

#: A process that names a thread of its own as Envoy does, and says so; a child of a child.
NAMED = """
import sys, threading
def work():
    open("/proc/thread-self/comm", "w").write(sys.argv[1])
    print("named", flush=True)
    sys.stdin.read()
threading.Thread(target=work).start()
"""


@pytest.fixture
def agent(request: pytest.FixtureRequest) -> Iterator[int]:
    command = ["/bin/sh", "-c", '"$@"; true', "agent", sys.executable, "-c", NAMED, request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"named\n"
        yield process.pid
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("agent", ["wrk:worker_0"], indirect=True)
def test_child_with_workers_is_envoy(agent: int) -> None:
    found = envoy_among(agent)
    assert found not in (None, agent)
    stat = Path(f"/proc/{found}/stat").read_text("utf-8")
    assert int(stat.rpartition(")")[2].split()[1]) == agent


@pytest.mark.parametrize("agent", ["dog:main"], indirect=True)
def test_without_workers_no_process_is_envoy(agent: int) -> None:
    assert envoy_among(agent) is None


def test_process_that_has_ended_is_not_envoy() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        assert envoy_among(process.pid) is None
