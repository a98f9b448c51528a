"""Names of files: whether one leads out of a folder, and which ones a run itself uses."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

#: Where logs are written. Not beside the files: Envoy watches their directory, and wakes at each
#: write to it. Were what it does then written there, it would never sleep.
LOGS = "logs"
#: Where files that stand for network namespaces are.
NETNS = "netns"
#: What a launcher makes there: its directories, and for each Envoy its config, the file with the
#: admin's address, and a directory with its executable.
_OWN = re.compile(rf"{LOGS}|{NETNS}|envoy(-\d+)?\.yaml|admin(-\d+)?\.address|bin-\d+")


def is_own(name: str) -> bool:
    """Return whether a relative name is, or is below, one that the run itself uses."""
    return _OWN.fullmatch(name.partition("/")[0]) is not None


def collisions(names: Collection[str], others: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that cannot be a file's in the run directory, and why.

    Args:
        names: relative names of files, without `.` and `..`.
        others: further names that are taken, of files and of directories.
    """
    for name in names:
        first = name.partition("/")[0]
        above = [parent for parent in map(str, PurePosixPath(name).parents) if parent in names]
        if is_own(name) or first in others:
            yield name, f"`{first}` is the run's own in its directory"
        elif above:
            yield name, f"`{above[0]}` is a file, and no directory"


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether a path, or a link on its way, leads out of a folder.

    Args:
        path: the path; nothing needs to be there.
        folder: the folder.
    """
    try:
        reached, inside = os.path.realpath(path), os.path.realpath(folder)
    except (OSError, ValueError):  # a loop of links, or a name that no file can have
        return True
    return os.path.commonpath((reached, inside)) != inside
