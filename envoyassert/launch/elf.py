"""Read what an ELF executable says about itself: its build id and its loader.

Layout: elf(5), the System V ABI ("Program Header", "Note Section"). Only the program headers are
read, never the sections, so stripped files work; 32 and 64 bits, both byte orders.
"""

from __future__ import annotations

import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_PT_INTERP = 3
_PT_NOTE = 4
_NT_GNU_BUILD_ID = 3
#: Note segments are some hundred bytes; a larger one is a damaged file.
_LARGEST_SEGMENT = 1 << 20


class NotAnExecutableError(ValueError):
    """The file is not an ELF file, or is damaged."""


def _segments(file: BinaryIO, wanted: int) -> Iterator[tuple[bytes, str]]:
    """Yield (contents, struct byte order) of each segment of type `wanted`."""
    ident = file.read(16)
    if len(ident) < 16 or ident[:4] != b"\x7fELF":
        raise NotAnExecutableError("not an ELF file")
    order = "<" if ident[5] == 1 else ">"
    wide = ident[4] == 2
    header = file.read(48 if wide else 36)
    try:
        fields = struct.unpack(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), header)
        table, size, count = fields[4], fields[8], fields[9]
        file.seek(table)
        entries = file.read(size * count)
        for index in range(count):
            entry = entries[index * size : (index + 1) * size]
            if wide:
                kind, _, offset, _, _, length = struct.unpack_from(order + "IIQQQQ", entry)
            else:
                kind, offset, _, _, length = struct.unpack_from(order + "IIIII", entry)
            if kind != wanted:
                continue
            if length > _LARGEST_SEGMENT:
                raise NotAnExecutableError("damaged ELF file: segment too large")
            file.seek(offset)
            contents = file.read(length)
            if len(contents) != length:
                raise NotAnExecutableError("damaged ELF file: cut off")
            yield contents, order
    except struct.error as error:
        raise NotAnExecutableError("damaged ELF file: cut off") from error


def parse_build_id(file: BinaryIO) -> str:
    """Return the GNU build id of an ELF file.

    Args:
        file: the file, open for reading bytes, at its start.

    Returns:
        The id as lower-case hex, or "" if the file has none.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is cut off.
    """
    for notes, order in _segments(file, _PT_NOTE):
        position = 0
        while position + 12 <= len(notes):
            name_size, size, kind = struct.unpack_from(order + "III", notes, position)
            name_at = position + 12
            description_at = name_at + (name_size + 3 & ~3)
            end = description_at + size
            name = notes[name_at : name_at + name_size]
            if kind == _NT_GNU_BUILD_ID and name == b"GNU\0" and end <= len(notes):
                return notes[description_at:end].hex()
            position = description_at + (size + 3 & ~3)
    return ""


def parse_interpreter(file: BinaryIO) -> str:
    """Return the path of an ELF file's loader, or "" if it is linked statically.

    Args:
        file: the file, open for reading bytes, at its start.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is cut off.
    """
    for contents, _ in _segments(file, _PT_INTERP):
        return contents.rstrip(b"\0").decode()
    return ""


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
