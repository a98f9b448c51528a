"""Access to the program's maps by raw bytes, without bcc's guesses about types."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any


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
        library: bcc's ctypes library.
        fd: descriptor of the map.
        key_size: bytes of a key; 0 for a queue.
        value_size: bytes of a value; for a per-CPU map those of all CPUs together.
    """

    def __init__(self, library: Any, fd: int, key_size: int, value_size: int) -> None:
        self._library = library
        self._fd = fd
        self._key_size = key_size
        self._value_size = value_size

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None if there is none."""
        value = ctypes.create_string_buffer(self._value_size)
        if self._library.bpf_lookup_elem(self._fd, key, ctypes.addressof(value)):
            return None
        return value.raw

    def set(self, key: bytes, value: bytes) -> None:
        """Set the value of a key.

        Raises:
            OSError: the kernel refused.
        """
        if self._library.bpf_update_elem(self._fd, key or None, value, 0):
            number = ctypes.get_errno()
            raise OSError(number, f"the probe's map cannot be written: {os.strerror(number)}")

    def push(self, value: bytes) -> None:
        """Add a value to a queue.

        Raises:
            OSError: the kernel refused; the queue is full.
        """
        self.set(b"", value)

    def pop(self) -> bytes | None:
        """Remove the oldest value of a queue and return it, None if the queue is empty."""
        value = ctypes.create_string_buffer(self._value_size)
        if self._library.bpf_lookup_and_delete(self._fd, None, ctypes.byref(value)):
            return None
        return value.raw

    def delete(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        self._library.bpf_delete_elem(self._fd, key)

    def keys(self) -> Iterator[bytes]:
        """Yield the keys; the map may change meanwhile, so collect them before deleting."""
        following = ctypes.create_string_buffer(self._key_size)
        if self._library.bpf_get_first_key(self._fd, following, self._key_size):
            return
        while True:
            key = following.raw
            yield key
            following = ctypes.create_string_buffer(self._key_size)
            if self._library.bpf_get_next_key(self._fd, key, following):
                return
