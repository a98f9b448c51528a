"""The names of all frames of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from envoyassert.events import Event
from envoyassert.symbolize.find import find_debug_file, find_objects
from envoyassert.symbolize.object_symbols import (
    ObjectSymbols,
    UnreadableObjectError,
    read_symbols,
)
from envoyassert.symbols import ObjectFile, Symbols, split_frame

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
