"""SIGTERM and SIGHUP reach the workers of a session: fixtures torn down, a summary, exit code 2.

Ctrl-C reaches every process of a terminal, SIGTERM only the one that it is sent to. With
pytest-xdist that is the controller, which runs no test.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

import pytest

from envoyassert.interrupts import ENDING, ended_by, interrupt, is_repeated

#: How long the workers may take to stop their Envoys and to report.
_WORKERS_S = 30.0


class ToWorkers:
    """A plugin of xdist's controller: signals reach the workers, and they report before the end.

    A session in which no worker handles one, for none has run an Envoy, is ended by it at once, as
    without this plugin. So is one that is asked to end for the second time.
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._signalled: list[Any] = []
        self._is_passed_on = False
        self._before: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, interrupt):
                self._before[number] = handler
                signal.signal(number, self._terminate)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Take note of a worker."""
        self._nodes.append(node)

    def _terminate(self, number: int, _frame: FrameType | None) -> None:
        from envoyassert.launch.kernel import handles_signal

        if is_repeated():
            return
        nodes = () if self._is_passed_on else self._nodes
        self._is_passed_on = True
        workers = [(node, pid) for node in nodes if (pid := _pid_of(node)) is not None]
        handling = [node for node, pid in workers if handles_signal(pid, number)]
        if not handling and self._before[number] == signal.SIG_DFL:
            self.pytest_unconfigure()
            os.kill(os.getpid(), number)
            return
        self._signalled += handling
        for _, pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        raise KeyboardInterrupt(ended_by(number))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Wait for the workers: xdist kills those that take longer than ten seconds."""
        for node in self._signalled:
            # It ended in some way: what it reported is with xdist.
            with contextlib.suppress(OSError, EOFError, node.channel.RemoteError):
                node.channel.waitclose(_WORKERS_S)

    def pytest_unconfigure(self) -> None:
        """Leave the signals as they were found."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._terminate:
                signal.signal(number, handler)


def _pid_of(node: Any) -> int | None:
    """Return the process of a worker on this machine, None if it is not known."""
    # Neither xdist nor execnet has a public name for it. Without it xdist interrupts the workers
    # itself, five seconds later.
    popen = getattr(getattr(node.gateway, "_io", None), "popen", None)
    return getattr(popen, "pid", None)
