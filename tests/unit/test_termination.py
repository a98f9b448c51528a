"""What a signal does to the controller of a session of several processes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

#: A controller with one worker, which gets so many signals at once, and later ones after these.
CONTROLLER = """\
import os, signal, subprocess, sys
from types import SimpleNamespace
from envoyassert import interrupts
from envoyassert.pytest_plugin.termination import ToWorkers

number, at_once, later = map(int, sys.argv[1:])
waiting = "import signal, sys; signal.signal(%d, lambda *_: print('signalled')); " % number
waiting += "print('ready', flush=True); sys.stdin.read()"
worker = subprocess.Popen(
    [sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
worker.stdout.readline()
plugin = ToWorkers()
plugin.pytest_configure_node(SimpleNamespace(gateway=SimpleNamespace(
    _io=SimpleNamespace(popen=worker))))
for _ in range(at_once):
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt as error:
        print(error, flush=True)
for _ in range(later):
    interrupts._last_s -= 60
    os.kill(os.getpid(), number)
print("signalled", worker.communicate()[0].count("signalled"))
plugin.pytest_unconfigure()
print(signal.getsignal(number).name)
"""


def ended(number: signal.Signals, at_once: int, later: int) -> tuple[int, list[str]]:
    """Return how a controller ended that got signals, and what it said."""
    words = map(str, (int(number), at_once, later))
    process = subprocess.run(
        [sys.executable, "-c", CONTROLLER, *words],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return process.returncode, process.stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_that_comes_twice_at_once_is_one_request(number):
    # The kernel and the shell each send one when a terminal is closed.
    said = [f"ended by {number.name}", "signalled 1", "SIG_DFL"]
    assert ended(number, at_once=2, later=0) == (0, said)


def test_second_request_ends_the_controller_at_once():
    said = [f"ended by {signal.SIGTERM.name}"]
    assert ended(signal.SIGTERM, at_once=1, later=1) == (-signal.SIGTERM, said)
