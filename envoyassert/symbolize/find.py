"""Where the files of a stack are: by build id, so that no other file is taken for them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from envoyassert.launch.elf import read_build_id

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
