"""Wait until an Envoy is ready, without a single fixed sleep.

Between two questions the caller waits on the process itself, so an early exit ends the wait at
once. `/ready` says LIVE a moment before the workers have registered their listeners; the gauge
`listener_manager.workers_started` becomes 1 afterwards, also when there is no listener at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from envoyassert.launch.admin import AdminUnreachableError
from envoyassert.launch.base import tail
from envoyassert.trace import Outcome

if TYPE_CHECKING:
    from envoyassert.launch.base import RunningEnvoy

_STARTED = "listener_manager.workers_started"
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.02


def wait_ready(
    envoy: RunningEnvoy,
    has_admin: bool,
    started_s: float,
    deadline_s: float,
    idle: Callable[[], bool] | None,
) -> Outcome:
    """Wait for one of the three ends described in `RunningEnvoy.wait_ready`.

    Args:
        envoy: the process.
        has_admin: whether its config has an admin endpoint.
        started_s: time.monotonic() at its start.
        deadline_s: seconds from then until it must be ready.
        idle: says whether nothing has happened for a while; None if nobody knows.
    """
    pause_s = _FIRST_PAUSE_S
    live_after_s: float | None = None
    first_live = _FirstLive(envoy)
    while True:
        left_s = started_s + deadline_s - time.monotonic()
        end = envoy.exited(max(0.0, min(pause_s, left_s)))
        if end is not None:
            return Outcome(
                live=False if has_admin else None,
                live_asked_ns=first_live.asked_ns,
                live_ns=first_live.answered_ns,
                exit_code=end.exit_code,
                signal=end.signal,
                deadline_s=deadline_s,
                log_tail=tail(envoy.log()),
            )
        if has_admin:
            ready, pause_s = _ask(envoy, first_live, pause_s, idle)
            if ready:
                live_after_s = time.monotonic() - started_s
        else:
            ready = idle is None or idle()
        if ready or time.monotonic() >= started_s + deadline_s:
            return Outcome(
                live=ready if has_admin else None,
                live_after_s=live_after_s,
                live_asked_ns=first_live.asked_ns,
                live_ns=first_live.answered_ns,
                deadline_s=deadline_s,
                log_tail=tail(envoy.log()),
            )


class _FirstLive:
    """Asks `/ready`, and keeps when it first said LIVE."""

    def __init__(self, envoy: RunningEnvoy) -> None:
        self._envoy = envoy
        self.asked_ns: int | None = None
        self.answered_ns: int | None = None

    def ask(self) -> bool:
        """Return whether Envoy says LIVE. Raises AdminUnreachableError."""
        asked_ns = time.monotonic_ns()
        status, _ = self._envoy.admin_get("/ready")
        if status == 200 and self.answered_ns is None:
            self.asked_ns, self.answered_ns = asked_ns, time.monotonic_ns()
        return status == 200


def _ask(
    envoy: RunningEnvoy, first_live: _FirstLive, pause_s: float, idle: Callable[[], bool] | None
) -> tuple[bool, float]:
    """Ask once whether Envoy is ready; return (ready, pause before the next question)."""
    try:
        if first_live.ask():
            _, stats = envoy.admin_get(f"/stats?filter=^{_STARTED}$")
            if _STARTED in stats:
                return stats.strip() == f"{_STARTED}: 1", _FIRST_PAUSE_S
            # The config keeps this gauge from being made (stats_matcher).
            return idle is None or idle(), _FIRST_PAUSE_S
    except AdminUnreachableError:
        return False, _FIRST_PAUSE_S
    # Each question to a living Envoy is work in its main thread: ask less often by and by.
    return False, min(pause_s * 2, _LONGEST_PAUSE_S)
