"""Read what an ELF executable says about itself: its build id and its loader.

Both are in segments, so stripped files work; 32 and 64 bits, both byte orders.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.notes import iter_notes

from envoyassert.launch.kept import is_settled, state_of

#: Note segments are some hundred bytes; a larger one is a damaged file.
_LARGEST_SEGMENT = 1 << 20


class NotAnExecutableError(ValueError):
    """The file is not an ELF file, or is damaged."""


@contextmanager
def _damage_as_error() -> Iterator[None]:
    try:
        yield
    # What pyelftools raises depends on where the damage is.
    except (ELFError, ConstructError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise NotAnExecutableError(f"not an ELF file, or a damaged one: {error}") from error


def _segments(elf: ELFFile, kind: str) -> list[bytes]:
    """Return the contents of the segments of a kind."""
    found = []
    # Not `iter_segments`, which reads all sections as well for each segment of some kinds.
    for number in range(elf["e_phnum"]):
        place = elf["e_phoff"] + number * elf["e_phentsize"]
        header = struct_parse(elf.structs.Elf_Phdr, elf.stream, place)
        if header["p_type"] != kind:
            continue
        if header["p_filesz"] > _LARGEST_SEGMENT:
            raise ELFError("segment too large")
        elf.stream.seek(header["p_offset"])
        found.append(elf.stream.read(header["p_filesz"]))
        if len(found[-1]) != header["p_filesz"]:
            raise ELFError("cut off")
    return found


def parse_build_id(file: BinaryIO) -> str:
    """Return the GNU build id of an ELF file.

    Args:
        file: the file, open for reading bytes.

    Returns:
        The id as lower-case hex, or "" if the file has none.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is damaged.
    """
    with _damage_as_error():
        elf = ELFFile(file)
        for contents in _segments(elf, "PT_NOTE"):
            # A note says itself how long it is: none may reach beyond its segment.
            elf.stream = io.BytesIO(contents)
            for note in iter_notes(elf, 0, len(contents)):
                if note["n_type"] == "NT_GNU_BUILD_ID" and note["n_name"] == "GNU":
                    return str(note["n_desc"])
    return ""


def parse_interpreter(file: BinaryIO) -> str:
    """Return the path of an ELF file's loader, or "" if it is linked statically.

    Args:
        file: the file, open for reading bytes.

    Raises:
        NotAnExecutableError: it is not an ELF file, or is damaged.
    """
    with _damage_as_error():
        for contents in _segments(ELFFile(file), "PT_INTERP"):
            return contents.rstrip(b"\0").decode()
    return ""


#: Files whose build id is remembered; a session runs the same few again and again.
_KNOWN_FILES = 256
_known: dict[tuple[int, ...], str] = {}


def read_build_id(path: str | Path) -> str:
    """Return the GNU build id of the file at `path`, or "" if it has none or is no ELF file.

    A file is read once in each of its states, by whatever path.

    Raises:
        OSError: the file cannot be read.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        return ""  # a traced process may name anything, and to open a FIFO may wait for ever
    with Path(path).open("rb") as file:
        opened = os.fstat(file.fileno())
        state, settled = state_of(opened), is_settled(opened)
        known = _known.get(state)
        if known is not None:
            return known
        try:
            build_id = parse_build_id(file)
        except NotAnExecutableError:
            build_id = ""
    if settled:
        if len(_known) >= _KNOWN_FILES:
            _known.pop(next(iter(_known)))
        _known[state] = build_id
    return build_id
