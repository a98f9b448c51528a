"""Scenario files that `check` found valid before, without a word about them: by their content.

Only what depends on nothing but the file and the code that checks it is noted. A digest has the
file's name and its bytes. The notes are of one state of the code: of this package, of Python, and
of the libraries that read and check scenarios. Any other file, or state of the code, is checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from envoyassert import __version__
from envoyassert.input_file import MAX_SCENARIO, UnfitFileError, read_file
from envoyassert.launch.kept import Kept

#: What reads and checks scenarios beside this package.
_LIBRARIES = ("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "yaml")
_SIZE = hashlib.sha256().digest_size
#: Digests that are kept of one state of the code, the newest.
_MOST = 50_000
_NOTES = Kept("valid", ".sha256", most=4, longest=_MOST * _SIZE)


class KnownValid:
    """What was found valid by this state of the code; `keep` notes what was added."""

    def __init__(self) -> None:
        try:
            self._key = _state_of_code()
        except OSError:  # the code is in no files of its own
            self._key = ""
        content = (self._key and _NOTES.recall(self._key)) or b""
        ends = range(_SIZE, len(content) + 1, _SIZE)
        self._before = dict.fromkeys(content[end - _SIZE : end] for end in ends)
        self._added: dict[bytes, None] = {}

    def holds(self, file: Path) -> bool:
        """Whether a file of this name and content was found valid."""
        if not self._before:
            return False
        try:
            content = read_file(file, MAX_SCENARIO)
        except (UnfitFileError, OSError, ValueError):
            return False
        return _digest(file, content) in self._before

    def add(self, file: Path, text: str) -> None:
        """Note that a file is valid.

        Args:
            file: the file.
            text: all of its text, which is what was checked.
        """
        self._added[_digest(file, text.encode())] = None

    def keep(self) -> None:
        """Keep what was added for the next time; where that cannot be done, nothing happens."""
        if self._added and self._key:
            every = [*{**self._added, **self._before}]
            _NOTES.remember(self._key, b"".join(every[:_MOST]))


def _digest(file: Path, content: bytes) -> bytes:
    return hashlib.sha256(os.fsencode(file.name) + b"\0" + content).digest()


def _state_of_code() -> str:
    """Return a digest of what a change of the code changes: size and time of each of its files."""
    parts = [__version__, sys.version]
    for name in _LIBRARIES:
        spec = importlib.util.find_spec(name)
        parts.append(f"{name} {_shown(Path(spec.origin).stat()) if spec and spec.origin else ''}")
    parts += sorted(_files(str(Path(__file__).parents[1])))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _files(directory: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name != "__pycache__":
                    yield from _files(entry.path)
            else:
                yield f"{entry.path} {_shown(entry.stat())}"


def _shown(status: os.stat_result) -> str:
    # The time of the last change of the inode: no program sets that to another time.
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
