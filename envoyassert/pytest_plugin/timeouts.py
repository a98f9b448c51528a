"""What pytest-timeout does to a run of a scenario: it says where the run is, and keeps evidence.

By itself it prints the stack of every thread, which is about a test in Python. It still does where
a fixture of the user's takes too long before the run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytest
import pytest_timeout  # type: ignore[import-untyped]

from envoyassert.pytest_plugin.evidence import evidence_of


def set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Set the timer of a test, as the hook `pytest_timeout_set_timer` does.

    Args:
        item: the test.
        settings: pytest-timeout's: `timeout` in seconds, `method`, `disable_debugger_detection`.

    Returns:
        True if it is set, None if pytest-timeout should set it.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if settings.method == "signal" and is_main:
        _set_alarm(item, settings)
        return True

    def expire() -> None:
        if not _is_debugging(settings) and _report_timeout(item, settings.timeout):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        pytest_timeout.timeout_timer(item, settings)

    def cancel() -> None:
        timer.cancel()
        timer.join()

    timer = threading.Timer(settings.timeout, expire)
    timer.name = f"{__name__} {item.nodeid}"
    # Where pytest-timeout looks for it.
    item.cancel_timeout = cancel  # type: ignore[attr-defined]
    timer.start()
    return True


def _set_alarm(item: pytest.Item, settings: Any) -> None:
    """Set the timer of the method `signal`, which raises an exception in the test."""

    def strike(_number: int, _frame: FrameType | None) -> None:
        __tracebackhide__ = True
        if evidence_of(item) is None:
            pytest_timeout.timeout_sigalrm(item, settings)
        elif not _is_debugging(settings):
            pytest.fail(pytest_timeout.PYTEST_FAILURE_MESSAGE % settings.timeout)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    # As above.
    item.cancel_timeout = cancel  # type: ignore[attr-defined]
    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)


def _is_debugging(settings: Any) -> bool:
    return not settings.disable_debugger_detection and pytest_timeout.is_debugging()


def _report_timeout(item: pytest.Item, timeout_s: float) -> bool:
    """Keep the evidence of a run that took too long, and print where it was, if there is one."""
    evidence = evidence_of(item)
    if evidence is None:
        return False
    text = evidence.described(pytest_timeout.PYTEST_FAILURE_MESSAGE % timeout_s)
    manager = item.config.pluginmanager.getplugin("capturemanager")
    if manager is not None:
        manager.suspend_global_capture(item)
    item.config.get_terminal_writer().line(f"\n{item.nodeid}: {text}")
    if manager is not None:
        manager.resume_global_capture()
    return True
