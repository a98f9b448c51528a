"""The names of all frames of a run, from the files that they are in.

Files are found by build id, so that no other file is taken for one of them. What was read of a file
is kept for the next run, which calls from the same places: reading symbols takes as long as Envoy's
start.
"""

from __future__ import annotations

import bisect
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envoyassert.events import Event
from envoyassert.launch.kept import is_settled
from envoyassert.launch.kept_symbols import NotedFile, identity
from envoyassert.symbols import IN_LIBRARY, ObjectFile, Symbols, split_frame

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import Section

_PF_X = 1
_STT_FUNC, _STT_GNU_IFUNC = 2, 10


class Segment(NamedTuple):
    """An executable part of a file: where it is in the file, and where in memory (unrelocated)."""

    offset: int
    size: int
    address: int


class Function(NamedTuple):
    """A function: address and length in bytes, and its name as the linker knows it."""

    address: int
    size: int
    name: str


class ObjectSymbols:
    """The functions of an executable or library.

    Args:
        segments: its executable segments.
        functions: its functions, in any order.
        machine: `EM_X86_64`, `EM_AARCH64`, or another one, whose calls are not decoded.
        tables: the addresses of the tables through which functions of libraries are called (PLT).
    """

    def __init__(
        self,
        segments: list[Segment],
        functions: list[Function],
        machine: str,
        tables: list[range],
    ) -> None:
        self._segments = segments
        self._tables = tables
        self._machine = machine
        self._functions = sorted(functions)
        self._addresses = [function.address for function in self._functions]

    def name_at(self, offset: int) -> str:
        """Return the function that a return address is in, or "" if none covers it.

        Args:
            offset: offset in the file of the instruction after the call.
        """
        # The call itself is what counts: it may be the last instruction of its function.
        address = self._address_of(offset - 1)
        return "" if address is None else self._function_at(address)

    def callee_at(self, path: Path, offset: int) -> str:
        """Return the function that was called from before a return address.

        Args:
            path: the file itself.
            offset: offset in the file of the instruction after the call.

        Returns:
            Its name, IN_LIBRARY, or "" if it was called through a pointer.

        Raises:
            OSError: the file cannot be read.
        """
        following = self._address_of(offset)
        if following is None or self._machine not in _CALL_SIZES:
            return ""
        size = _CALL_SIZES[self._machine]
        with path.open("rb") as file:
            file.seek(offset - size)
            code = file.read(size)
        target = _target(self._machine, code, following)
        if target is None:
            return ""
        return IN_LIBRARY if any(target in t for t in self._tables) else self._function_at(target)

    def _address_of(self, offset: int) -> int | None:
        for segment in self._segments:
            if segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.address
        return None

    def _function_at(self, address: int) -> str:
        last = bisect.bisect_right(self._addresses, address)
        # Functions share addresses (aliases); an alias may be shorter than what it stands for.
        for function in reversed(self._functions[max(0, last - 8) : last]):
            if function.address <= address < function.address + function.size:
                return plain_name(function.name)
        return ""


#: Length in bytes of a call of a fixed target.
_CALL_SIZES = {"EM_X86_64": 5, "EM_AARCH64": 4}


def _target(machine: str, code: bytes, following: int) -> int | None:
    """Return the address that a call instruction calls, None if it is no call of a fixed target.

    Intel SDM volume 2, CALL (E8, a displacement from the next instruction); Arm ARM, BL.
    """
    if len(code) != _CALL_SIZES[machine]:
        return None
    if machine == "EM_X86_64":
        (displacement,) = struct.unpack_from("<i", code, 1)
        return following + int(displacement) if code[0] == _CALL else None
    (word,) = struct.unpack("<I", code)
    if word >> 26 != _BRANCH_WITH_LINK:
        return None
    words = (word & _BRANCH_MASK) - (word << 1 & _BRANCH_MASK + 1)
    return following - 4 + 4 * int(words)


_CALL = 0xE8
_BRANCH_WITH_LINK = 0b100101
_BRANCH_MASK = (1 << 26) - 1


class UnreadableObjectError(ValueError):
    """Not an ELF file, or a damaged one."""


def read_symbols(path: Path, debug: Path | None) -> tuple[ObjectSymbols, bool]:
    """Read the functions of an ELF file.

    Args:
        path: the file that was executed or mapped.
        debug: the separate file with its debugging symbols, if there is one. Its own segments are
            empty, so where code lies in the file is still read from `path`.

    Returns:
        The functions, and whether these are all of them: a file that was stripped names only what
        it exports.

    Raises:
        UnreadableObjectError: one of them is not an ELF file, or damaged.
        OSError: one of them cannot be read.
    """
    # Not needed where all is known from an earlier run.
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            segments = [
                Segment(part["p_offset"], part["p_filesz"], part["p_vaddr"])
                for part in elf.iter_segments("PT_LOAD")
                if part["p_flags"] & _PF_X
            ]
            tables = [
                range(section["sh_addr"], section["sh_addr"] + section["sh_size"])
                for section in elf.iter_sections()
                if section.name.startswith(".plt")
            ]
            functions = _functions(elf, ".symtab")
            if functions is None and debug is not None:
                with debug.open("rb") as more:
                    functions = _functions(ELFFile(more), ".symtab")
            if functions is not None:
                return ObjectSymbols(segments, functions, elf["e_machine"], tables), True
            exported = _functions(elf, ".dynsym") or []
            return ObjectSymbols(segments, exported, elf["e_machine"], tables), False
    except (ELFError, struct.error, ValueError) as error:
        raise UnreadableObjectError(f"cannot be read: {error}") from error


def _functions(elf: ELFFile, table: str) -> list[Function] | None:
    """Return the functions of a symbol table, None if the file lacks the table.

    An Envoy with symbols has a million of them: the table is unpacked in one go.
    """
    section = elf.get_section_by_name(table)
    if section is None or section["sh_type"] == "SHT_NOBITS":
        return None
    strings: Section = elf.get_section(section["sh_link"])
    names = strings.data()
    order = "<" if elf.little_endian else ">"
    if elf.elfclass == 64:
        rows = (
            (name, info, index, value, size)
            for name, info, _, index, value, size in struct.iter_unpack(
                order + "IBBHQQ", section.data()
            )
        )
    else:
        rows = (
            (name, info, index, value, size)
            for name, value, size, info, _, index in struct.iter_unpack(
                order + "IIIBBH", section.data()
            )
        )
    return [
        Function(value, size, names[name : names.index(b"\0", name)].decode(errors="replace"))
        for name, info, index, value, size in rows
        if index and size and info & 0xF in (_STT_FUNC, _STT_GNU_IFUNC)
    ]


def plain_name(name: str) -> str:
    """Return the name of a function as it stands in the source, with its parameters in C++."""
    if not name.startswith("_Z"):
        return name
    # It looks for the C++ runtime, by a process of its own; few files need it.
    import cxxfilt

    try:
        return str(cxxfilt.demangle(name))
    except cxxfilt.Error:
        # Not C++, or the C++ runtime that knows how is not installed: the mangled name still holds
        # every part of it.
        return name


#: Where distributions put separate debug files (gdb(1), "Debugging Information in Separate Files").
SYSTEM_DEBUG_DIR = Path("/usr/lib/debug")
_MAPPING = re.compile(r"(\S+) ..x. \S+ \S+ \d+\s+(/.*)$")


class Found(NamedTuple):
    """A file: where it can be read, and how the process itself knew it."""

    readable: Path
    shown: str


def find_objects(
    build_ids: Iterable[str], pids: Iterable[int], executables: Iterable[str]
) -> dict[str, Found]:
    """Find the files that have these build ids.

    Args:
        build_ids: what to look for, hex.
        pids: processes that may have them mapped; those that have ended have nothing.
        executables: paths of what they executed, for those that have ended.

    Returns:
        The files by their build id, as far as they were found.
    """
    wanted = set(build_ids)
    found: dict[str, Found] = {}
    for candidate in _candidates(pids, executables):
        if not wanted - found.keys():
            break
        try:
            build_id = _build_id(candidate.readable)
        except OSError:
            continue
        if build_id in wanted:
            found.setdefault(build_id, candidate)
    return found


def _build_id(path: Path) -> str:
    """Return the build id of a file, "" if it has none. Raises OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return ""  # a traced process may name anything, and to open a FIFO may wait for ever
    noted = NotedFile(identity(status))
    if noted.build_id is None:
        from envoyassert.launch.elf import read_build_id

        settled = is_settled(status)
        noted.build_id = read_build_id(path)
        if settled:
            noted.keep()
    return noted.build_id


def _candidates(pids: Iterable[int], executables: Iterable[str]) -> Iterator[Found]:
    seen: set[str] = set()
    # What this process has mapped serves those that have ended: most often it is the same libc.
    for pid in [*pids, os.getpid()]:
        for span, path in _mapped(pid):
            if path not in seen:
                seen.add(path)
                # The mapping itself can be read even where its path is in another mount namespace,
                # or was removed.
                yield Found(Path(f"/proc/{pid}/map_files/{span}"), path)
    for path in executables:
        yield Found(Path(path), path)


def _mapped(pid: int) -> Iterator[tuple[str, str]]:
    """Yield address range and path of each executable mapping of a file."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape")
    except OSError:
        return  # it has ended
    for line in maps.splitlines():
        mapping = _MAPPING.match(line)
        if mapping is not None:
            yield mapping[1], mapping[2].removesuffix(" (deleted)")


def find_debug_file(build_id: str, directories: Sequence[Path]) -> Path | None:
    """Find the separate debug file of a build id.

    Args:
        build_id: hex.
        directories: where to look: each has either the layout of /usr/lib/debug
            (`.build-id/xx/yyyy.debug`), or the file itself under any name.
    """
    for directory in [*directories, SYSTEM_DEBUG_DIR]:
        path = directory / ".build-id" / build_id[:2] / f"{build_id[2:]}.debug"
        if path.is_file():
            return path
    for directory in directories:
        for path in sorted(directory.iterdir()):
            if path.is_file() and _build_id(path) == build_id:
                return path
    return None


NO_FILE = "was not found once the run was over"
STRIPPED = (
    "has no symbols, and no separate debug file was found: install the package with its debug "
    "symbols, or name their directory (--envoyassert-debug-dir, ENVOYASSERT_DEBUG_DIR)"
)


def symbolize(
    events: Iterable[Event], debug_dirs: Sequence[Path] = (), executables: Iterable[str] = ()
) -> Symbols:
    """Name the frames of the stacks of a run.

    To be called while its processes live, if possible: their mappings lead to their files.

    Args:
        events: what was recorded.
        debug_dirs: further directories with separate debug files.
        executables: paths of executables, beside those that were executed by their own path.

    Returns:
        The names, and for every file in which some frame has none the reason.
    """
    events = list(events)
    offsets: dict[str, set[int]] = {}
    for stack in {event.stack for event in events}:
        for build_id, offset in map(split_frame, stack):
            if build_id:
                offsets.setdefault(build_id, set()).add(offset)
    if not offsets:
        return Symbols()
    executed = {str(e.args["filename"]) for e in events if e.call == "exec" and e.args["filename"]}
    executed |= {path for path in executables if path}
    found = find_objects(offsets, dict.fromkeys(event.pid for event in events), sorted(executed))
    names: dict[str, str] = {}
    callees: dict[str, str] = {}
    seconds = {event.stack[1] for event in events if len(event.stack) > 1}
    files: dict[str, ObjectFile] = {}
    for build_id, places in offsets.items():
        file = found.get(build_id)
        if file is None:
            files[build_id] = ObjectFile("", NO_FILE)
            continue
        try:
            asked = {offset: f"{build_id}+0x{offset:x}" in seconds for offset in places}
            read, whole = _named(build_id, file.readable, tuple(debug_dirs), asked)
        except (OSError, UnreadableObjectError) as error:
            files[build_id] = ObjectFile(file.shown, str(error))
            continue
        for offset, (name, callee) in read.items():
            names[f"{build_id}+0x{offset:x}"] = name
            callees[f"{build_id}+0x{offset:x}"] = callee
        files[build_id] = ObjectFile(file.shown, "" if whole else STRIPPED)
    named = {frame: name for frame, name in names.items() if name}
    return Symbols(named, {frame: name for frame, name in callees.items() if name}, files)


def _named(
    build_id: str, path: Path, debug_dirs: tuple[Path, ...], asked: Mapping[int, bool]
) -> tuple[dict[int, tuple[str, str]], bool]:
    """Return the names at places of a file, and whether the file names all of its functions.

    Args:
        build_id: of the file.
        path: where it can be read.
        debug_dirs: directories with separate debug files.
        asked: offsets in the file, and of each whether its callee is asked for.

    Returns:
        The function and its callee by offset; "" for what has no name or was not asked for.

    Raises:
        UnreadableObjectError: the file, or its debug file, is damaged.
        OSError: one of them cannot be read.
    """
    debug = find_debug_file(build_id, debug_dirs)
    states = [file.stat() for file in (path, debug) if file is not None]
    settled = all(map(is_settled, states))
    noted = NotedFile(identity(states[0]), "".join(map(identity, states[1:])))
    if not noted.has(asked):
        symbols, noted.whole = _symbols(tuple(map(identity, states)), path, debug)
        for offset, with_callee in asked.items():
            callee = symbols.callee_at(path, offset) if with_callee else None
            noted.add(offset, symbols.name_at(offset), callee)
        if settled:
            noted.keep()
    return {offset: noted.names(offset) for offset in asked}, noted.whole


# A session runs the same few files again and again. A stripped copy has the same build id.
_KNOWN_FILES = 16


def _symbols(states: tuple[str, ...], path: Path, debug: Path | None) -> tuple[ObjectSymbols, bool]:
    """Return the functions of a file, and whether these are all of them.

    Args:
        states: the `identity` of the file, and of its debug file if it has one.
        path: the file.
        debug: its debug file.
    """
    if states not in _known:
        if len(_known) >= _KNOWN_FILES:
            _known.pop(next(iter(_known)))
        _known[states] = read_symbols(path, debug)
    return _known[states]


_known: dict[tuple[str, ...], tuple[ObjectSymbols, bool]] = {}
