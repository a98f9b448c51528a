"""When an Envoy has become quiet: it waits for events, and does nothing that it could wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from envoyassert.events import Event
from envoyassert.probe import Watch

#: Without an admin endpoint, Envoy counts as ready when it has registered descriptors in an epoll
#: and has made no recorded call for this long.
_QUIET_S = 0.2
#: How long a thread may take at least from its first registration to its first wait.
_FIRST_WAIT_S = 1.0
_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05
_READ_S = 1.0
#: What the names of worker threads begin with.
_WORKER = "wrk:worker_"


def when_quiet(arm: Watch) -> Callable[[], bool]:
    """Return a function that returns whether all of Envoy waits for events and has become quiet.

    An Envoy that still initialises is quiet too, for as long as a server does not answer; then no
    worker waits for anything (see `let_threads_wait`).
    """
    last, read = (-1, 0.0), (-1, False)

    def is_quiet() -> bool:
        nonlocal last, read
        counters = arm.counters()
        now = time.monotonic()
        if counters.emitted != last[0]:
            last = (counters.emitted, now)
        if counters.registrations == 0 or now - last[1] < _QUIET_S:
            return False
        if counters.emitted != read[0]:
            arm.drain(_READ_S)
            read = (counters.emitted, not unwaited(arm.snapshot().events))
        return read[1]

    return is_quiet


def let_threads_wait(
    arm: Watch, pause: Callable[[float], object | None], deadline_s: float
) -> None:
    """Return when every epoll with a registration has been waited on, or at the deadline.

    Then the workers serve. Envoy's main thread registers something in the epoll of each worker
    before the worker exists, and a worker carries out what was posted to it, its listeners among
    it, before it waits for the first time (Envoy, source/common/event/dispatcher_impl.cc,
    `DispatcherImpl::run`). This is seen in the trace alone: Envoy is not asked, and its gauge
    `listener_manager.workers_started` may be hidden, or stay 0 because one listener failed.

    Args:
        arm: the run.
        pause: sleeps for so many seconds, or until Envoy has ended; returns None if it runs.
        deadline_s: how long to wait at most, at least a second.
    """
    end_s = time.monotonic() + max(_FIRST_WAIT_S, deadline_s)
    pause_s = _FIRST_PAUSE_S
    while True:
        arm.drain(_READ_S)
        if not unwaited(arm.snapshot().events) or time.monotonic() >= end_s:
            return
        if pause(pause_s) is not None:
            return
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def is_initialising(arm: Watch) -> bool:
    """Whether it is certain that Envoy's workers have not started.

    Then others are yet to wait for events, and only the main thread and such whose names say that
    they are no workers (`dog:main_thread`) ever have. After a loss nothing is certain.
    """
    events = arm.snapshot().events
    named = {one.args["tid"]: str(one.args["name"]) for one in events if one.call == "rename"}
    others = {tid for tid, name in named.items() if not name.startswith(_WORKER)}
    working = any(
        one.call == "epoll_wait" and one.tid != one.pid and one.tid not in others for one in events
    )
    return not working and bool(unwaited(events)) and not arm.counters().dropped


def unwaited(events: Iterable[Event]) -> set[tuple[int, int]]:
    """Return epolls, by process and descriptor, with a registration that no thread waits for."""
    registered, waited = set(), set()
    for event in events:
        if event.call == "epoll_wait":
            waited.add((event.pid, event.args["epfd"]))
        elif event.call == "epoll_ctl" and event.ret == 0:
            registered.add((event.pid, event.args["epfd"]))
    return registered - waited
