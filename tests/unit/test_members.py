"""What happened to an Envoy of a run: one that is dying of a fault is not up."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from envoyassert.driver import members
from envoyassert.driver.members import outcome_of
from envoyassert.launch.base import Exit
from envoyassert.launch.kernel import is_dying
from envoyassert.trace import Outcome

LIVE = Outcome(live=True, live_after_s=0.1)
#: Handles faults as Envoy does, and then one of them, or none.
PROGRAM = """
import signal, sys
for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV"):
    signal.signal(signal.Signals[name], lambda *_: None)
for name in sys.argv[1:]:
    signal.signal(signal.Signals[name], signal.SIG_DFL)
print("ready", flush=True)
sys.stdin.read()
"""


def started(*handled: str) -> Iterator[int]:
    command = [sys.executable, "-c", PROGRAM, *handled]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


@pytest.fixture
def dying() -> Iterator[int]:
    """A process in the handler of SIGABRT, which is in force once only."""
    yield from started("SIGABRT")


@pytest.fixture
def sound() -> Iterator[int]:
    yield from started()


def test_process_that_handles_a_fault_is_dying(dying: int, sound: int) -> None:
    assert is_dying(dying)
    assert not is_dying(sound)
    assert not is_dying(2**22 + 1)


def envoy(pid: int, asked: list[float], ends_when_asked: int) -> SimpleNamespace:
    def exited(timeout_s: float = 0.0) -> Exit | None:
        asked.append(timeout_s)
        return Exit(None, signal.SIGABRT) if len(asked) >= ends_when_asked else None

    return SimpleNamespace(pid=pid, exited=exited, log=lambda: "Caught Aborted")


def test_envoy_that_is_dying_is_waited_for(dying: int) -> None:
    asked: list[float] = []
    outcome = outcome_of(envoy(dying, asked, 3), LIVE)
    assert (outcome.signal, outcome.running) == (signal.SIGABRT, False)
    assert len(asked) == 3


def test_envoy_that_does_not_end_after_all_is_up(
    dying: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "_DEATH_S", 0.0)
    assert outcome_of(envoy(dying, [], 10**9), LIVE) == LIVE


def test_envoy_without_a_fault_is_asked_once(sound: int) -> None:
    asked: list[float] = []
    assert outcome_of(envoy(sound, asked, 2), LIVE) == LIVE
    assert asked == [0.0]
