"""pytest-timeout's method `thread` ends the process; before that, the run's evidence is kept.

Its method `signal` raises an exception in the test, which needs nothing of this.
"""

from __future__ import annotations

import threading
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
        True if it is set, None if pytest-timeout shall set it.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if settings.method == "signal" and is_main:
        return None

    def expire() -> None:
        if settings.disable_debugger_detection or not pytest_timeout.is_debugging():
            _tell(item, settings.timeout)
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


def _tell(item: pytest.Item, timeout_s: float) -> None:
    """Keep the evidence of a test that took too long, and print where it was."""
    evidence = evidence_of(item)
    if evidence is None:
        return
    told = evidence.told(pytest_timeout.PYTEST_FAILURE_MESSAGE % timeout_s)
    manager = item.config.pluginmanager.getplugin("capturemanager")
    if manager is not None:
        manager.suspend_global_capture(item)
    item.config.get_terminal_writer().line(f"\n{item.nodeid}: {told}")
    if manager is not None:
        manager.resume_global_capture()
