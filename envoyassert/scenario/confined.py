"""Whether a file lies in a folder, links followed."""

from __future__ import annotations

import os
from pathlib import Path


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
