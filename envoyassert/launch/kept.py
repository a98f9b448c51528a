"""The cache, and in a part of it that is this user's alone small files that spare work next time.

A file that another user may have written is as good as none, and nothing is written where others
may write.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A file that is being written and is older was left by a process that was killed.
_ABANDONED_S = 60
#: A file that changed so few seconds ago may change again within the same tick of its clock.
_SETTLED_S = 2.0
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_dir() -> Path:
    """Return the cache: $ENVOYASSERT_CACHE, else envoyassert/ in the XDG cache."""
    chosen = os.environ.get("ENVOYASSERT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "envoyassert"


def state_of(file: os.stat_result) -> tuple[int, ...]:
    """Return what a file is known by: device, inode, size, and times, that of its inode too."""
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns


def is_settled(file: os.stat_result) -> bool:
    """Return whether a file that changes from now on gets another state."""
    return time.time() - file.st_ctime > _SETTLED_S


class Kept:
    """One kind of such files.

    Args:
        part: the name of their directory in the cache.
        suffix: how their names end.
        most: how many are kept, the newest.
        longest: bytes that are read of one.
    """

    def __init__(self, part: str, suffix: str, *, most: int, longest: int) -> None:
        self._part = part
        self._suffix = suffix
        self._most = most
        self._longest = longest

    def recall(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None if that is nothing, or not to be trusted."""
        try:
            with self._directory() as directory:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                opened = os.open(f"{key}{self._suffix}", flags, dir_fd=directory)
                with os.fdopen(opened, "rb") as file:
                    status = os.fstat(opened)
                    if not stat.S_ISREG(status.st_mode) or not _is_own(status):
                        return None
                    return file.read(self._longest)
        except OSError:
            return None

    def remember(self, key: str, content: bytes) -> None:
        """Keep a content under a key; where that cannot be done, nothing happens."""
        with contextlib.suppress(OSError):
            self.path().mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._directory() as directory:
                _write(directory, f"{key}{self._suffix}", content)
                self._remove_old(directory)

    def tried(self, name: str, size: int) -> int:
        """Write a file and remove it, and return how many are kept.

        Args:
            name: of the file.
            size: of the file, in bytes.

        Raises:
            OSError: it cannot be written, or other users may write to the directory.
        """
        self.path().mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._directory() as directory:
            _write(directory, name, bytes(size))
            with contextlib.suppress(FileNotFoundError):  # another process removed it
                os.unlink(name, dir_fd=directory)
            return sum(name.endswith(self._suffix) for name in _ages(directory))

    def path(self) -> Path:
        """Return where they are.

        Raises:
            OSError: this user has no home directory, and no other place is named.
        """
        try:
            return cache_dir() / self._part
        except RuntimeError as error:
            raise FileNotFoundError(str(error)) from error

    @contextmanager
    def _directory(self) -> Iterator[int]:
        """Open their directory, by a descriptor that no one can exchange.

        Raises:
            OSError: it is not there, or may not be read; or it is another user's, or others may
                write.
        """
        if os.open not in os.supports_dir_fd:  # Windows
            raise FileNotFoundError("no files are kept on this system")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        directory = os.open(self.path(), flags)
        try:
            if not _is_own(os.fstat(directory)):
                raise PermissionError(f"other users may write to {self.path()}")
            yield directory
        finally:
            os.close(directory)

    def _remove_old(self, directory: int) -> None:
        """Remove what is more than is kept, and what killed processes left."""
        ages = _ages(directory)
        kept = sorted((name for name in ages if name.endswith(self._suffix)), key=ages.__getitem__)
        hidden = (name for name in ages if name.startswith("."))
        abandoned = (name for name in hidden if ages[name] > _ABANDONED_S)
        for name in (*kept[self._most :], *abandoned):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _write(directory: int, name: str, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    partial = f".{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(partial, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(partial, dir_fd=directory)
        raise


def _ages(directory: int) -> dict[str, float]:
    """Return how many seconds ago each file of a directory was written."""
    ages = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                ages[entry.name] = time.time() - entry.stat(follow_symlinks=False).st_mtime
    return ages


def _is_own(status: os.stat_result) -> bool:
    """Whether something is this user's, and no one else may change it."""
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE
