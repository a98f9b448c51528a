"""SIGTERM and SIGHUP end a command as Ctrl-C does, wherever it is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from envoyassert import interrupts
from envoyassert.attach.command import Stop
from envoyassert.cli.attach import _ended_by_signals
from envoyassert.cli.explore import _interruptible
from envoyassert.interrupts import interrupt_prevails, interrupted_by_signals, interrupts_held
from envoyassert.launch.kernel import handles_signal

ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def first_request(monkeypatch):
    monkeypatch.setattr(interrupts, "_last_s", -interrupts._SAME_REQUEST_S)


@pytest.mark.parametrize("number", ENDING)
def test_signal_interrupts_and_then_is_what_it_was(number):
    before = signal.getsignal(number)
    with (
        pytest.raises(KeyboardInterrupt, match=f"ended by {number.name}"),
        interrupted_by_signals(),
    ):
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_what_comes_again_at_once_breaks_nothing_off_and_later_it_does(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("envoyassert.interrupts.time.monotonic", lambda: now_s)
    with pytest.raises(KeyboardInterrupt):
        interrupts.interrupt(signal.SIGHUP)
    now_s += 0.5
    interrupts.interrupt(signal.SIGTERM)
    now_s += 2.5
    with pytest.raises(KeyboardInterrupt):
        interrupts.interrupt(signal.SIGTERM)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "handled"])
def test_what_is_ignored_or_handled_stays_so(handler):
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with interrupted_by_signals():
            assert signal.getsignal(signal.SIGHUP) == handler
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ENDING)
def test_signal_that_is_held_back_interrupts_at_the_end(number):
    done = False
    with (  # noqa: PT012 - what is inside must not be interrupted
        pytest.raises(KeyboardInterrupt, match=f"ended by {number.name}"),
        interrupted_by_signals(),
        interrupts_held(),
        interrupts_held(),
    ):
        os.kill(os.getpid(), number)
        done = True
    assert done


def test_what_is_ignored_or_of_the_system_stays_so_while_signals_are_held_back():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def fails_in_release() -> None:
    try:
        raise KeyboardInterrupt("ended by SIGTERM")
    finally:
        raise ChildProcessError("no such child")


def test_error_in_what_is_released_does_not_take_the_place_of_the_interrupt():
    with pytest.raises(KeyboardInterrupt, match="ended by SIGTERM"), interrupt_prevails():
        fails_in_release()
    with pytest.raises(ValueError, match="alone"), interrupt_prevails():
        raise ValueError("alone")


def reading_plan(tmp_path, *before: str) -> subprocess.Popen[str]:
    """Start a command that reads from a pipe which does not end."""
    config = tmp_path / "envoy.yaml"
    config.write_text("static_resources: {}\n")
    return subprocess.Popen(
        [*before, sys.executable, "-m", "envoyassert", "plan", str(config), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_handler(pid: int, number: signal.Signals) -> None:
    deadline_s = time.monotonic() + 30
    while not handles_signal(pid, number):
        assert time.monotonic() < deadline_s, f"no handler of {number.name} was set"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", ENDING)
def test_command_that_reads_is_interrupted(tmp_path, number):
    running = reading_plan(tmp_path)
    wait_for_handler(running.pid, number)
    running.send_signal(number)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err.split()) == (2, "", ["interrupted"])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_command_under_nohup_goes_on(tmp_path):
    running = reading_plan(tmp_path, "nohup")
    wait_for_handler(running.pid, signal.SIGTERM)
    assert not handles_signal(running.pid, signal.SIGHUP)
    running.send_signal(signal.SIGHUP)
    out, err = running.communicate("static_resources: {}\n", timeout=30)
    assert running.returncode == 0, err
    assert out


def twice_at_once(number: signal.Signals) -> None:
    # As timeout(1) does: it signals its child, and then its own process group.
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_recording_is_ended_by_a_signal_that_comes_twice_and_not_broken_off(number):
    stop = Stop()
    try:
        with _ended_by_signals(stop):
            twice_at_once(number)
    except KeyboardInterrupt:
        pytest.fail("it was broken off")
    assert stop.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_recording_is_broken_off_by_a_second_request(monkeypatch, number):
    with _ended_by_signals(Stop()):
        os.kill(os.getpid(), number)
        monkeypatch.setattr(interrupts, "_last_s", -interrupts._SAME_REQUEST_S)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "times"), [*((one, 1) for one in ENDING), (signal.SIGINT, 2)])
def test_exploring_is_interrupted_once_by_a_signal_that_comes_twice(number, times):
    pressed: list[int] = []
    with contextlib.suppress(KeyboardInterrupt), _interruptible():
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            pressed.append(number)
            try:
                os.kill(os.getpid(), number)
            except KeyboardInterrupt:
                pressed.append(number)
    assert len(pressed) == times
