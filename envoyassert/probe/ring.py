"""Reading the ring that the program writes its records to (BPF_MAP_TYPE_RINGBUF)."""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Iterator
from itertools import islice

#: Of a piece's header (BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT of linux/bpf.h): it is still
#: being written; it holds nothing. The other bits are its length in bytes.
_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEADER_SIZE = 8
#: So much is mapped at a time: the whole ring would count as memory of this process, twice. It has
#: room for many pieces.
_WINDOW = 1 << 20

# Native form: it is read in one go, unlike one of a fixed byte order.
_LENGTH = struct.Struct("I")


class Ring:
    """One ring, of which this is the only reader.

    The kernel shows it as a page with the reader's position, a page with the writers' position, and
    the data twice, so that no piece is split at the end (kernel/bpf/ringbuf.c).

    Args:
        fd: descriptor of the map; the caller closes it, after this.
        size: bytes of its data, a power of two.

    Raises:
        OSError: it cannot be mapped.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        own = mmap.mmap(fd, mmap.PAGESIZE)
        theirs = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)
        # Views: they are read and written in one go. struct.pack_into() writes zeros first, with
        # which the kernel would take the ring for full once it has gone round.
        self._own = memoryview(own).cast("Q")
        self._theirs = memoryview(theirs).cast("Q")
        self._lock = threading.Lock()

    def read(self, most: int) -> list[bytes]:
        """Return the pieces that are complete, oldest first, and free their place.

        Args:
            most: how many at most.
        """
        found: list[bytes] = []
        while len(found) < most:
            start, end = self._own[0], self._theirs[0]
            self._in_order()
            pieces, size = self._pieces(start & (self._size - 1), end - start, most - len(found))
            if not size:
                break
            found += pieces
            self._in_order()
            self._own[0] = start + size
        return found

    @property
    def unread(self) -> tuple[int, int]:
        """The positions between which there is something to read; they only grow."""
        return self._own[0], self._theirs[0]

    def skip(self) -> None:
        """Free all places without reading; nothing is to be written meanwhile that is wanted."""
        end = self._theirs[0]
        self._in_order()
        self._own[0] = end

    def _pieces(self, first: int, size: int, most: int) -> tuple[list[bytes], int]:
        """Return pieces, and how many bytes of the ring they take.

        Args:
            first: where in the data the first one begins.
            size: bytes that were taken by writers, from there.
            most: how many pieces at most.
        """
        before = first % mmap.PAGESIZE
        size = min(size, _WINDOW)
        if not size:
            return [], 0
        offset = 2 * mmap.PAGESIZE + first - before
        with mmap.mmap(self._fd, before + size, prot=mmap.PROT_READ, offset=offset) as window:
            places = list(islice(_complete(window, before, before + size), most))
            if not places:
                return [], 0
            self._in_order()
            last, length = places[-1]
            taken = (last + (length & ~_DISCARDED) + 7 & ~7) - before
            pieces = [window[at : at + n] for at, n in places if not n & _DISCARDED]
        return pieces, taken

    def close(self) -> None:
        """Unmap it. May be called more than once."""
        # A map is gone with the last view of it.
        self._own.release()
        self._theirs.release()

    def _in_order(self) -> None:
        """Keep the processor from exchanging accesses before and after.

        What was written before a lock is released is seen after it is taken again, and so is what
        was read. On x86 that is so anyway.
        """
        with self._lock:
            pass
        with self._lock:
            pass


def _complete(window: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the pieces that lie in a window and are complete: where, and their lengths.

    A length has the bit of a piece that holds nothing.
    """
    while place + _HEADER_SIZE <= end:
        (length,) = _LENGTH.unpack_from(window, place)
        place += _HEADER_SIZE
        behind = place + (length & ~_DISCARDED)
        if length & _BUSY or behind > end:
            return
        yield place, length
        place = behind + 7 & ~7
