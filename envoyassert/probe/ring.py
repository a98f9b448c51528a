"""Reading the ring that the program writes its records to (BPF_MAP_TYPE_RINGBUF)."""

from __future__ import annotations

import mmap
import struct
import threading

#: Of a piece's header (BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT of linux/bpf.h): it is still
#: being written; it holds nothing. The other bits are its length in bytes.
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEADER_SIZE = 8

# Native form: these are read and written in one go, unlike those of a fixed byte order.
_LENGTH = struct.Struct("I")
_POSITION = struct.Struct("Q")


class Ring:
    """One ring, of which this is the only reader.

    The kernel shows it as a page with the reader's position, a page with the writers' position, and
    the data twice, so that no piece is split at the end (kernel/bpf/ringbuf.c).

    Args:
        fd: descriptor of the map.
        size: bytes of its data, a power of two.

    Raises:
        OSError: it cannot be mapped.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._size = size
        self._own = mmap.mmap(fd, mmap.PAGESIZE)
        self._theirs = mmap.mmap(
            fd, mmap.PAGESIZE + 2 * size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
        )
        self._lock = threading.Lock()

    def read(self, most: int) -> list[bytes]:
        """Return the pieces that are complete, oldest first, and free their place.

        Args:
            most: how many at most.
        """
        (start,) = _POSITION.unpack_from(self._own)
        (end,) = _POSITION.unpack_from(self._theirs)
        if start == end:
            return []
        self._in_order()
        first = mmap.PAGESIZE + (start & (self._size - 1))
        places: list[tuple[int, int]] = []
        place, behind = first, first + end - start
        while place < behind and len(places) < most:
            (length,) = _LENGTH.unpack_from(self._theirs, place)
            if length & _BUSY:
                break
            size = length & ~_DISCARDED
            places.append((place - first + _HEADER_SIZE, 0 if length & _DISCARDED else size))
            place += (_HEADER_SIZE + size + 7) & ~7
        self._in_order()
        content = self._theirs[first:place]
        self._in_order()
        _POSITION.pack_into(self._own, 0, start + place - first)
        return [content[at : at + size] for at, size in places if size]

    def close(self) -> None:
        """Unmap it. May be called more than once."""
        self._own.close()
        self._theirs.close()

    def _in_order(self) -> None:
        """Keep the processor from exchanging accesses before and after.

        What was written before a lock is released is seen after it is taken again, and so is what
        was read. On x86 that is so anyway.
        """
        with self._lock:
            pass
        with self._lock:
            pass
