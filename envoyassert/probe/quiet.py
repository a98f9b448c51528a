"""When an Envoy without an admin endpoint is ready: it waits for events and does nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from envoyassert.probe import Watch

#: Without an admin endpoint, Envoy counts as ready when it has registered descriptors in an epoll
#: and has made no recorded call for this long.
_QUIET_S = 0.2


def when_quiet(arm: Watch) -> Callable[[], bool]:
    """Return a function that tells whether Envoy waits for events and has become quiet."""
    last = (-1, 0.0)

    def is_quiet() -> bool:
        nonlocal last
        counters = arm.counters()
        now = time.monotonic()
        if counters.emitted != last[0]:
            last = (counters.emitted, now)
        return counters.registrations > 0 and now - last[1] >= _QUIET_S

    return is_quiet
