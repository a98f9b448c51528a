"""What ELF files say about themselves: build id, loader, segments and sections (elf(5)).

What is needed of them is in their headers, so stripped files work; 32 and 64 bits, both byte
orders. Every run looks at several files: no more is read of them than that.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

#: p_type of segments (elf.h).
PT_LOAD, PT_INTERP, PT_NOTE = 1, 3, 4
#: sh_type of a section that has no place in the file, as code in a separate debug file.
_SHT_NOBITS = 8
_NT_GNU_BUILD_ID = 3
#: Note segments are some hundred bytes; a larger one is a damaged file.
_LARGEST_SEGMENT = 1 << 20
#: Of e_shstrndx: the first section has the number, as it has that of e_shnum for 0 (elf(5)).
_SHN_XINDEX = 0xFFFF
_LARGEST_TABLE = 1 << 24


class NotAnExecutableError(ValueError):
    """The file is not an ELF file, or is damaged."""


class Segment(NamedTuple):
    """A part of a file as it is loaded: type and flags, where it is in the file and in memory."""

    kind: int
    flags: int
    offset: int
    size: int
    address: int


class Section(NamedTuple):
    """A part of a file as the linker has it; `link` is the number of the section it refers to."""

    name: str
    kind: int
    address: int
    offset: int
    size: int
    link: int

    @property
    def is_empty(self) -> bool:
        """Whether the file has nothing of it."""
        return self.kind == _SHT_NOBITS


class Elf:
    """The headers of an ELF file.

    Args:
        file: the file, open for reading bytes.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        ident = self.read(0, 16)
        if ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise NotAnExecutableError("not an ELF file")
        self.wide = ident[4] == 2
        self.order = "<>"[ident[5] - 1]
        header = self._unpack("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH", 16)
        self.machine = header[1]
        self._segments_at, self._sections_at = header[4:6]
        self._segment_size, self._segment_count = header[8:10]
        self._section_size, self._section_count, self._names = header[10:13]

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes of the file.

        Raises:
            NotAnExecutableError: it has less.
        """
        try:
            self._file.seek(offset)
        except (OSError, OverflowError, ValueError) as error:
            raise NotAnExecutableError(f"a damaged ELF file: {error}") from error
        data = self._file.read(size)
        if len(data) != size:
            raise NotAnExecutableError("an ELF file that is cut off")
        return data

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        form = self.order + form
        return struct.unpack(form, self.read(offset, struct.calcsize(form)))

    def segments(self, wanted: int) -> list[Segment]:
        """Return the segments of a type."""
        found = []
        for number in range(self._segment_count):
            place = self._segments_at + number * self._segment_size
            if self.wide:
                kind, flags, offset, address, _, size = self._unpack("IIQQQQ", place)
            else:
                kind, offset, address, _, size, _, flags = self._unpack("IIIIIII", place)
            if kind == wanted:
                found.append(Segment(kind, flags, offset, size, address))
        return found

    def contents(self, wanted: int) -> Iterator[bytes]:
        """Yield the contents of the segments of a type."""
        for segment in self.segments(wanted):
            if segment.size > _LARGEST_SEGMENT:
                raise NotAnExecutableError("a damaged ELF file: a segment is too large")
            yield self.read(segment.offset, segment.size)

    def sections(self) -> list[Section]:
        """Return all sections, in the order of their numbers."""
        if not self._sections_at:
            return []
        form = self.order + ("IIQQQQIIQQ" if self.wide else "IIIIIIIIII")
        size = struct.calcsize(form)
        first = struct.unpack(form, self.read(self._sections_at, size))
        count = self._section_count or first[5]
        names_in = first[6] if self._names == _SHN_XINDEX else self._names
        if self._section_size != size or count * size > _LARGEST_TABLE or names_in >= count:
            raise NotAnExecutableError("a damaged ELF file: its table of sections")
        rows = list(struct.iter_unpack(form, self.read(self._sections_at, count * size)))
        names = self.read(*rows[names_in][4:6])
        return [
            Section(string_at(names, name), kind, address, offset, length, link)
            for name, kind, _, address, offset, length, link, *_ in rows
        ]


def string_at(table: bytes, offset: int) -> str:
    """Return a string of a table of strings.

    Raises:
        NotAnExecutableError: it has no end.
    """
    end = table.find(b"\0", offset)
    if end < 0:
        raise NotAnExecutableError("a damaged ELF file: a name without an end")
    return table[offset:end].decode(errors="replace")


def parse_build_id(file: BinaryIO) -> str:
    """Return the GNU build id of an ELF file.

    Args:
        file: the file, open for reading bytes.

    Returns:
        The id as lower-case hex, or "" if the file has none.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is damaged.
    """
    elf = Elf(file)
    for contents in elf.contents(PT_NOTE):
        place = 0
        while place + 12 <= len(contents):
            lengths = struct.unpack_from(elf.order + "III", contents, place)
            name = contents[place + 12 :][: lengths[0]]
            described = place + 12 + _padded(lengths[0])
            end = described + lengths[1]
            # A note says itself how long it is: none may reach beyond its segment.
            if end > len(contents):
                raise NotAnExecutableError("a damaged ELF file: a note is too long")
            if lengths[2] == _NT_GNU_BUILD_ID and name == b"GNU\0":
                return contents[described:end].hex()
            place = described + _padded(lengths[1])
    return ""


def _padded(size: int) -> int:
    return size + -size % 4


def parse_interpreter(file: BinaryIO) -> str:
    """Return the path of an ELF file's loader, or "" if it is linked statically.

    Args:
        file: the file, open for reading bytes.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is damaged.
    """
    contents = next(Elf(file).contents(PT_INTERP), b"")
    try:
        return contents.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise NotAnExecutableError("a damaged ELF file: its loader is no path") from error


def read_build_id(path: str | Path) -> str:
    """Return the GNU build id of the file at `path`, or "" if it has none or is no ELF file.

    Raises:
        OSError: the file cannot be read.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        return ""  # a traced process may name anything, and to open a FIFO may wait for ever
    with Path(path).open("rb") as file:
        try:
            return parse_build_id(file)
        except NotAnExecutableError:
            return ""
