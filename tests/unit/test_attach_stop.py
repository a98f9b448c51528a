"""A session of `attach` is asked to end by a signal, whatever its main thread does then."""

from __future__ import annotations

import subprocess
import sys

#: A process that waits again and again while another one sends signals to it.
WAITING = """
import os, signal, subprocess, sys, time
from envoyassert.attach.command import Stop

stop = Stop()
asked = 0

def end(*_):
    global asked
    asked += 1
    stop.set()

signal.signal(signal.SIGUSR1, end)
sending = "import os, sys\\nwhile True: os.kill(int(sys.argv[1]), 10); os.sched_yield()"
with subprocess.Popen([sys.executable, "-c", sending, str(os.getpid())]) as sender:
    until = time.monotonic() + 50
    while asked < 1000 and time.monotonic() < until:
        stop.wait(0.0001)
    sender.kill()
print(asked >= 1000)
"""


def test_request_at_any_instant_is_taken():
    command = [sys.executable, "-c", WAITING]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
