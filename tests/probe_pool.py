"""Processes that run Envoys, each with a probe of its own.

What floods the ring of one is then not lost to the run of another.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

from envoyassert.probe import Probe

_probe: Probe | None = None


def probe_pool(processes: int) -> ProcessPoolExecutor:
    """Return a pool whose processes have loaded a probe, and end with this process.

    Args:
        processes: how many.
    """
    fresh = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, fresh, initializer=_begin)


def own_probe() -> Probe:
    """Return the probe of this process of a pool."""
    assert _probe is not None
    return _probe


def _begin() -> None:
    global _probe
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _probe = Probe.load()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # and with this process its Envoys
