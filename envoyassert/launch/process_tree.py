"""Which process is Envoy, where another program was started that started it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

#: What Envoy names its worker threads (source/server/worker_impl.cc).
_WORKER = "wrk:worker_"


def envoy_among(pid: int) -> int | None:
    """Return the first process with worker threads among one and its descendants, or None.

    Args:
        pid: the process that was started: Envoy itself, or a program that started it.
    """
    return next((one for one in and_descendants(pid) if _has_workers(one)), None)


def and_descendants(pid: int) -> Iterator[int]:
    """Yield a process and all that it started, directly or not, as far as they are there."""
    waiting = [pid]
    while waiting:
        one = waiting.pop(0)
        yield one
        for task in _tasks(one):
            # It may end meanwhile.
            with contextlib.suppress(OSError):
                waiting += map(int, (task / "children").read_text("ascii").split())


def _has_workers(pid: int) -> bool:
    for task in _tasks(pid):
        with contextlib.suppress(OSError):
            if (task / "comm").read_text("utf-8", "replace").startswith(_WORKER):
                return True
    return False


def _tasks(pid: int) -> list[Path]:
    try:
        return sorted(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
