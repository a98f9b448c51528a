"""An executable in the page cache, so that a start waits for Envoy and not for a disk."""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path

#: MADV_POPULATE_READ of madvise(2), since Linux 5.14; Python's mmap has no name for it.
_POPULATE_READ = 22


def load_into_page_cache(path: Path) -> None:
    """Read a file into the page cache and return when all of it is there.

    An Envoy has 100 MB. Read page by page as it is executed, from a disk that is slow or busy, it
    takes longer to begin than a scenario's deadline allows; nothing of that is Envoy's doing. Where
    the file is in the cache already, this takes milliseconds.

    Args:
        path: the file. What cannot be read is passed over: starting it will say why.
    """
    with (
        contextlib.suppress(OSError, ValueError),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        mapped.madvise(_POPULATE_READ)
