"""Reading the ring of records, on a file that has its layout."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys

import pytest

from envoyassert.probe import ring
from envoyassert.probe.ring import Ring

PAGE = mmap.PAGESIZE
SIZE = 4 * PAGE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Writer:
    """The kernel's side: pieces go into both copies of the data."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * SIZE)
        self.end = 0

    def begin_at(self, position: int) -> None:
        """Have so many bytes been written and read already."""
        self.end = position
        os.pwrite(self.fd, struct.pack("Q", position), 0)
        os.pwrite(self.fd, struct.pack("Q", position), PAGE)

    def write(self, piece: bytes, flags: int = 0) -> None:
        content = struct.pack("II", len(piece) | flags, 0) + piece
        for number in range(3):
            at = self.end % SIZE + (number - 1) * SIZE
            for offset in range(len(content)):
                if 0 <= at + offset < 2 * SIZE:
                    os.pwrite(self.fd, content[offset : offset + 1], 2 * PAGE + at + offset)
        self.end += len(content) + 7 & ~7
        os.pwrite(self.fd, struct.pack("Q", self.end), PAGE)

    @property
    def read(self) -> int:
        """How many bytes the reader has freed."""
        (position,) = struct.unpack("Q", os.pread(self.fd, 8, 0))
        return int(position)


@pytest.fixture
def writer():
    one = Writer()
    yield one
    os.close(one.fd)


@pytest.fixture
def reader(writer):
    one = Ring(writer.fd, SIZE)
    yield one
    one.close()


def test_empty_ring_has_no_piece(reader):
    assert reader.read(10) == []


def test_pieces_are_read_in_order_and_their_place_is_freed(writer, reader):
    pieces = [bytes([number]) * (number + 1) for number in range(20)]
    for piece in pieces:
        writer.write(piece)
    assert reader.read(100) == pieces
    assert writer.read == writer.end
    assert reader.read(100) == []


def test_no_more_pieces_are_read_than_asked_for(writer, reader):
    for number in range(5):
        writer.write(bytes([number]))
    assert reader.read(2) == [b"\0", b"\1"]
    assert reader.read(2) == [b"\2", b"\3"]
    assert reader.read(2) == [b"\4"]


#: Watches the reader's position from another process, as a writer on another CPU does.
WATCHER = """
import mmap, sys
position = memoryview(mmap.mmap(int(sys.argv[1]), mmap.PAGESIZE)).cast("Q")
print(flush=True)
before = position[0]
while position[0] < int(sys.argv[2]):
    now = position[0]
    if now < before:
        sys.exit(f"went back from {before} to {now}")
    before = now
"""


def test_position_of_the_reader_never_goes_back_on_the_way(writer, reader):
    writer.begin_at(SIZE)
    last = SIZE + 16 * 5_000
    with subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(writer.fd), str(last)],
        pass_fds=[writer.fd],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watcher:
        assert watcher.stdout is not None
        watcher.stdout.readline()
        while writer.read < last:
            writer.write(b"piece")
            assert reader.read(1) == [b"piece"]
        _, said = watcher.communicate()
    assert (watcher.returncode, said) == (0, "")


def test_piece_that_is_being_written_is_left_with_all_behind_it(writer, reader):
    writer.write(b"first")
    place = writer.end
    writer.write(b"second", BUSY)
    writer.write(b"third")
    assert reader.read(10) == [b"first"]
    assert writer.read == place
    assert reader.read(10) == []
    os.pwrite(writer.fd, struct.pack("I", len(b"second")), 2 * PAGE + place)
    assert reader.read(10) == [b"second", b"third"]


def test_piece_that_was_given_up_holds_nothing(writer, reader):
    for piece, flags in ((b"one", DISCARDED), (b"two", 0), (b"three", DISCARDED)):
        writer.write(piece, flags)
    assert reader.read(10) == [b"two"]
    assert writer.read == writer.end
    writer.write(b"four", DISCARDED)
    assert reader.read(10) == []
    assert writer.read == writer.end


@pytest.mark.parametrize("window", [PAGE, 2 * PAGE, 1 << 20])
def test_pieces_across_windows_and_the_end_of_the_data_are_whole(
    writer, reader, monkeypatch, window
):
    monkeypatch.setattr(ring, "_WINDOW", window)
    writer.begin_at(7 * SIZE + 3 * PAGE - 24)
    pieces = [bytes([number]) * 1001 for number in range(16)]
    for piece in pieces:
        writer.write(piece)
    assert reader.read(100) == pieces
    assert writer.read == writer.end
