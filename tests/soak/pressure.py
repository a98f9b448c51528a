"""Pressure on processors and memory, by processes of our own that end with whoever started them."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

from typing_extensions import Self

#: Of the memory that is available, in the hands of all that press on it.
MEMORY_SHARE = 0.5
_MAX_MEMORY = 4 << 30
_PAGE = mmap.PAGESIZE
#: How long memory is held, and then given back, in seconds.
_HOLD_S, _REST_S = 2.0, 0.2


class Pressure:
    """Keeps every processor busy, and memory coming and going; a context manager.

    Args:
        processors: how many processes compute; by default one and a half for each processor, so
            that whoever else computes must wait for its turn.
        memory_bytes: how much memory is taken, touched and given back, over and over.
    """

    def __init__(self, processors: int | None = None, memory_bytes: int | None = None) -> None:
        cpus = os.cpu_count() or 1
        self.processors = cpus + (cpus + 1) // 2 if processors is None else processors
        self.memory_bytes = (
            min(int(available_bytes() * MEMORY_SHARE), _MAX_MEMORY)
            if memory_bytes is None
            else memory_bytes
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for _ in range(self.processors):
            self._start("compute")
        if self.memory_bytes:
            self._start("memory", str(self.memory_bytes))
        return self

    def _start(self, *words: str) -> None:
        command = [sys.executable, "-m", "tests.soak.pressure", str(os.getpid()), *words]
        self._processes.append(subprocess.Popen(command, cwd=Path(__file__).parents[2]))

    @property
    def ended(self) -> list[int]:
        """The exit codes of those that ended without being stopped."""
        codes = [process.poll() for process in self._processes]
        return [code for code in codes if code is not None]

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()


def available_bytes() -> int:
    """Return how much memory could be had without swapping (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _compute(parent: int) -> None:
    while os.getppid() == parent:
        sum(number * number for number in range(100_000))


def _memory(parent: int, size: int) -> None:
    while os.getppid() == parent:
        with mmap.mmap(-1, size) as taken:
            until = time.monotonic() + _HOLD_S
            while time.monotonic() < until and os.getppid() == parent:
                for at in range(0, size, _PAGE):
                    taken[at] = 1
        # The gap lets the kernel hand the pages to others, who lose them again.
        time.sleep(_REST_S)


if __name__ == "__main__":
    owner, what = int(sys.argv[1]), sys.argv[2]
    if what == "compute":
        _compute(owner)
    else:
        _memory(owner, int(sys.argv[3]))
