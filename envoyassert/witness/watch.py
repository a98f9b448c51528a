"""Who accepts the connections of an Envoy that runs already: its calls are watched for a while."""

from __future__ import annotations

import os
from collections.abc import Callable

from envoyassert.errors import NoProcessError
from envoyassert.launch.kernel import wait_readable
from envoyassert.launch.processes import and_descendants
from envoyassert.probe import Probe
from envoyassert.state import ACCEPTS, Watched

#: The records of a few seconds are read far faster than they came.
_DRAIN_DEADLINE_S = 10.0


def watch(pid: int, seconds: float, begun: Callable[[], object]) -> Watched:
    """Watch a process and its descendants for a while; an end of it cuts that short.

    Args:
        pid: the process, as seen from here.
        seconds: how long.
        begun: is called once all of them are watched: from then on nothing is missed.

    Raises:
        MachineError: the probe cannot be used here.
        NoProcessError: there is no such process any more.
    """
    with Probe.load() as probe:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise NoProcessError(f"process {pid} ended before it was watched") from error
        try:
            with probe.watch_running(lambda: and_descendants(pid)) as arm:
                begun()
                ended = wait_readable(pidfd, seconds)
                arm.drain(_DRAIN_DEADLINE_S)
                snapshot = arm.snapshot()
        finally:
            os.close(pidfd)
    lost = snapshot.misses + sum(one.dropped for one in snapshot.cpus)
    calls = tuple(event for event in snapshot.events if event.call in ACCEPTS)
    return Watched(seconds, calls, lost if snapshot.drained else max(lost, 1), ended)
