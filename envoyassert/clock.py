"""The clocks of the kernel, whatever time namespace this process is in.

A time namespace adds offsets to what its processes read, also to the start of a process in
`/proc/<pid>/stat`; the kernel's probes know none (time_namespaces(7), `bpf_ktime_get_ns()`).
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

_OFFSETS = Path("/proc/self/timens_offsets")


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in nanoseconds: the clock of the events."""
    return time.monotonic_ns() - _offsets().get("monotonic", 0)


def boottime_offset_ns() -> int:
    """Return by how many nanoseconds this process sees CLOCK_BOOTTIME ahead of the kernel's."""
    return _offsets().get("boottime", 0)


@functools.cache
def _offsets() -> dict[str, int]:
    try:
        return parse_offsets(_OFFSETS.read_text(encoding="ascii"))
    except OSError:
        return {}  # a kernel without time namespaces


def parse_offsets(text: str) -> dict[str, int]:
    """Return the offset of each clock in nanoseconds.

    Args:
        text: a `/proc/<pid>/timens_offsets`: a clock, seconds and nanoseconds on each line.
    """
    offsets = {}
    for line in text.splitlines():
        clock, seconds, nanoseconds = line.split()
        offsets[clock] = int(seconds) * 1_000_000_000 + int(nanoseconds)
    return offsets
