"""Access to the program's maps by raw bytes."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from envoyassert.probe import kernel


@cache
def possible_cpus() -> tuple[int, ...]:
    """Return the numbers of the CPUs that may ever be online, in the kernel's order."""
    cpus: list[int] = []
    for part in Path("/sys/devices/system/cpu/possible").read_text().strip().split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


class Map:
    """One map.

    Args:
        fd: descriptor of the map; the caller closes it.
        key_size: bytes of a key; 0 for a queue.
        value_size: bytes of a value; for a per-CPU map those of all CPUs together.
    """

    def __init__(self, fd: int, key_size: int, value_size: int) -> None:
        self._fd = fd
        self._key_size = key_size
        self._value_size = value_size

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None if there is none."""
        value = ctypes.create_string_buffer(self._value_size)
        try:
            kernel.element(kernel.LOOKUP, self._fd, _buffer(key), value)
        except OSError:
            return None
        return value.raw

    def set(self, key: bytes, value: bytes) -> None:
        """Set the value of a key.

        Raises:
            OSError: the kernel refused.
        """
        try:
            kernel.element(kernel.UPDATE, self._fd, _buffer(key), _buffer(value))
        except OSError as error:
            number = error.errno or 0
            raise OSError(
                number, f"the probe's map cannot be written: {os.strerror(number)}"
            ) from error

    def push(self, value: bytes) -> None:
        """Add a value to a queue.

        Raises:
            OSError: the kernel refused; the queue is full.
        """
        self.set(b"", value)

    def pop(self) -> bytes | None:
        """Remove the oldest value of a queue and return it, None if the queue is empty."""
        value = ctypes.create_string_buffer(self._value_size)
        try:
            kernel.element(kernel.LOOKUP_AND_DELETE, self._fd, None, value)
        except OSError:
            return None
        return value.raw

    def delete(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        with contextlib.suppress(OSError):
            kernel.element(kernel.DELETE, self._fd, _buffer(key))

    def keys(self) -> Iterator[bytes]:
        """Yield the keys; the map may change meanwhile, so collect them before deleting."""
        key = None
        following = ctypes.create_string_buffer(self._key_size)
        while True:
            try:
                kernel.element(kernel.NEXT_KEY, self._fd, key, following)
            except OSError:
                return
            yield following.raw
            key = _buffer(following.raw)


def _buffer(content: bytes) -> ctypes.Array[ctypes.c_char] | None:
    return ctypes.create_string_buffer(content, len(content)) if content else None
