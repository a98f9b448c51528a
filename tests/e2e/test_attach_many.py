"""Ten Envoys of two kinds that start at once, beside processes that come and go."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typing_extensions import Self

from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.launch.namespace import joined_namespace
from envoyassert.trace_file import read_trace
from tests.e2e.attaching import LONG, Attaching, running
from tests.e2e.bpf_objects import bpf_objects, held_bpf_objects
from tests.e2e.launching import bootstrap, echo_listener, wait_until

pytestmark = [pytest.mark.bpf, pytest.mark.envoy]

ENVOYS = 10
#: So many foreign processes per second there must have been; so many are asked for.
LEAST_PER_S, ASKED_PER_S = 200, 250


class Foreign:
    """Short processes that begin and end at a rate; a context manager.

    What is due is started in one go. So a slow machine runs more of them at once, not fewer.

    Args:
        programs: what is executed, one after the other.
    """

    def __init__(self, programs: Sequence[str]) -> None:
        self._programs = programs
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        #: How many have ended.
        self.count = 0
        self.took_s = 0.0

    @property
    def per_s(self) -> float:
        """How many per second there were, from the first one on."""
        return self.count / self.took_s if self.took_s else 0.0

    def are_many(self) -> bool:
        """Whether there were as many as there must be; what is due yet is counted once it ended."""
        return self.per_s >= LEAST_PER_S

    def stop(self) -> None:
        """Start no more; all that were started have ended then."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._stopped.wait(0.01):
            due = int((time.monotonic() - began_s) * ASKED_PER_S) - self.count
            names = [self._programs[n % len(self._programs)] for n in range(due)]
            pids = [os.posix_spawn(name, [name], {}) for name in names]
            for pid in pids:
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            self.count += len(pids)
            self.took_s = time.monotonic() - began_s

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


@pytest.fixture
def foreign(envoy) -> Foreign:
    """Processes that nothing is asked about, some under a name that only begins as Envoy's."""
    longer = Path(f"{envoy[0]}-other")
    longer.symlink_to("/bin/true")
    return Foreign(["/bin/true", str(longer)])


@pytest.fixture
def kinds(tmp_path, envoy) -> dict[str, int]:
    """The config of each kind, and how many sockets its listener has."""
    shared = tmp_path / "shared.yaml"
    shared.write_text(bootstrap(echo_listener(more="enable_reuse_port: false,")))
    return {envoy[2]: 2, str(shared): 1}


@contextlib.contextmanager
def started(envoy: list[str], kinds: dict[str, int]) -> Iterator[list[int]]:
    """Start ten of both kinds; yield their processes."""
    configs = [*kinds] * (ENVOYS // len(kinds))
    with contextlib.ExitStack() as stack:
        commands = [[*envoy[:2], config, *envoy[3:]] for config in configs]
        yield [stack.enter_context(running(command)).pid for command in commands]


def serves(pid: int) -> bool:
    """Return whether the listener of an Envoy answers, in its network."""

    def echoed() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 10000)) as client:
            client.sendall(b"ping")
            return client.recv(4, socket.MSG_WAITALL) == b"ping"
        return False

    thread = joined_namespace(pid, "test-many")
    try:
        return wait_until(lambda: thread.call(echoed))
    finally:
        thread.close()


def test_each_has_a_whole_trace_and_nothing_of_another_process(tmp_path, envoy, kinds, foreign):
    traces = tmp_path / "traces"
    arguments = ("--count", ENVOYS, "--for", LONG, "-o", f"{traces}/")
    with (
        foreign,
        Attaching("--exe", envoy[0], *arguments) as attached,
        started(envoy, kinds) as pids,
    ):
        done = attached.end()
        assert wait_until(foreign.are_many), foreign.per_s
    assert done.returncode == 0, done.stderr
    assert "note: " not in done.stderr
    found = [read_trace(file) for file in traces.iterdir()]
    assert {trace.events[0].pid for trace in found} == set(pids)
    for trace in found:
        graph = fold(trace)
        assert [one for one in certify_phases(trace, graph).checks if not one.ok] == []
        assert {event.pid for event in trace.events} == {trace.events[0].pid}
        sockets = [one for one in graph.listening() if str(one.address) == "127.0.0.1:10000"]
        assert len(sockets) == kinds[graph.processes[trace.events[0].pid].argv[2]]


def test_killed_recorder_leaves_nothing_in_the_kernel_and_every_envoy_serves(envoy, kinds, foreign):
    with Attaching("--exe", envoy[0], "--forever") as attached, foreign:
        held = held_bpf_objects([Path(f"/proc/{attached.pid}")])
        assert {kind for kind, _ in held} >= {"prog_id", "map_id"}
        assert held <= bpf_objects()
        with started(envoy, kinds) as pids:
            attached.wait_for_story()
            attached.kill()
            assert wait_until(lambda: not held & bpf_objects()), held & bpf_objects()
            assert all(serves(pid) for pid in pids)
            assert wait_until(foreign.are_many), foreign.per_s
