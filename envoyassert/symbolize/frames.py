"""The names of all frames of a run, from the files that they are in.

Files are found by build id, so that no other file is taken for one of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envoyassert.events import Event
from envoyassert.launch.elf import read_build_id
from envoyassert.symbolize.object_symbols import (
    ObjectSymbols,
    UnreadableObjectError,
    read_symbols,
)
from envoyassert.symbols import ObjectFile, Symbols, split_frame

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
            build_id = read_build_id(candidate.readable)
        except OSError:
            continue
        if build_id in wanted:
            found.setdefault(build_id, candidate)
    return found


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
            if path.is_file() and read_build_id(path) == build_id:
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
            symbols, whole = _symbols(build_id, file.readable, tuple(debug_dirs))
            for offset in places:
                frame = f"{build_id}+0x{offset:x}"
                names[frame] = symbols.name_at(offset)
                if frame in seconds:
                    callees[frame] = symbols.callee_at(file.readable, offset)
        except (OSError, UnreadableObjectError) as error:
            files[build_id] = ObjectFile(file.shown, str(error))
            continue
        files[build_id] = ObjectFile(file.shown, "" if whole else STRIPPED)
    named = {frame: name for frame, name in names.items() if name}
    return Symbols(named, {frame: name for frame, name in callees.items() if name}, files)


# A session runs the same few files again and again. A stripped copy has the same build id.
_KNOWN_FILES = 16


def _symbols(build_id: str, path: Path, debug_dirs: tuple[Path, ...]) -> tuple[ObjectSymbols, bool]:
    """Return the functions of a file, and whether these are all of them."""
    debug = find_debug_file(build_id, debug_dirs)
    file = path.stat()
    key = (file.st_dev, file.st_ino, file.st_mtime_ns, debug)
    if key not in _known:
        if len(_known) >= _KNOWN_FILES:
            _known.pop(next(iter(_known)))
        _known[key] = read_symbols(path, debug)
    return _known[key]


_known: dict[tuple[int, int, int, Path | None], tuple[ObjectSymbols, bool]] = {}
