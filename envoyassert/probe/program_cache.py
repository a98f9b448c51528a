"""Keeping the compiled program, so that a session needs no compiler.

A file that is not what this user wrote, or not whole, is as good as none: the program is compiled
again. So is one that the kernel refuses. Where nothing can be kept it is compiled each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from envoyassert.errors import Capability
from envoyassert.launch.cache import cache_dir
from envoyassert.probe.bcc_import import bcc_version, libraries
from envoyassert.probe.btf import PUBLISHED
from envoyassert.probe.compiled import Compiled, from_bytes, to_bytes
from envoyassert.probe.program_text import kernel_headers_dir

#: The build id of the running kernel is in its notes (a file of sysfs since Linux 2.6).
_NOTES = Path("/sys/kernel/notes")
_SUFFIX = ".program"
#: So many programs are kept, the newest: of several kernels on one disk, of several releases.
_KEPT = 8
#: What is written to see whether that can be done, and how much: about as much as a program takes.
_TRIAL, _TRIAL_SIZE = ".trial", 1 << 17
#: A file that is being written and is older was left by a process that was killed.
_ABANDONED_S = 60
#: More than a program takes.
_LONGEST = 1 << 22
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def key_of(text: str, defines: Mapping[str, int]) -> str:
    """Return what a compiled program depends on, as one text.

    Args:
        text: the program's.
        defines: macros, but for those that the kernel's build says.
    """
    headers = sorted(path for path in kernel_headers_dir().rglob("*.h"))
    content = "".join(f"{path.name}\n{path.read_text()}" for path in headers)
    shown = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in libraries()]
    parts = [
        *(text, content, repr(sorted(defines.items()))),
        *(bcc_version(), *shown),
        *(platform.release(), platform.version(), platform.machine(), _kernel_build()),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _kernel_build() -> str:
    """Return what differs between two builds of a kernel of one release."""
    try:
        return _NOTES.read_bytes().hex()
    except OSError:
        return hashlib.sha256(PUBLISHED.read_bytes()).hexdigest()


def recall(key: str) -> Compiled | None:
    """Return the program of a key, or None if it is not kept, or not to be trusted."""
    try:
        with _directory() as directory:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            opened = os.open(f"{key}{_SUFFIX}", flags, dir_fd=directory)
            with os.fdopen(opened, "rb") as file:
                status = os.fstat(opened)
                if not stat.S_ISREG(status.st_mode) or not _is_own(status):
                    return None
                return from_bytes(file.read(_LONGEST), key)
    except OSError:
        return None


def remember(key: str, compiled: Compiled) -> None:
    """Keep a program; where that cannot be done, nothing happens."""
    with contextlib.suppress(OSError):
        _path().mkdir(mode=0o700, parents=True, exist_ok=True)
        with _directory() as directory:
            _write(directory, f"{key}{_SUFFIX}", to_bytes(compiled, key))
            _remove_old(directory)


def capability() -> Capability:
    """Return whether the compiled program can be kept, by writing a file like it."""
    place = ""
    try:
        place = f"{_path()}"
        _path().mkdir(mode=0o700, parents=True, exist_ok=True)
        with _directory() as directory:
            _write(directory, _TRIAL, bytes(_TRIAL_SIZE))
            with contextlib.suppress(FileNotFoundError):  # another session's doctor removed it
                os.unlink(_TRIAL, dir_fd=directory)
            kept = sum(name.endswith(_SUFFIX) for name in _ages(directory))
    except OSError as error:
        return Capability(
            "program cache",
            False,
            f"{place or 'none'}: {error.strerror or error}; each session takes a second to compile",
            "set ENVOYASSERT_CACHE to a directory of this user that no other user may write to",
        )
    return Capability("program cache", True, f"{place}, compiled programs: {kept}", "")


def _write(directory: int, name: str, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    partial = f".{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(partial, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(partial, dir_fd=directory)
        raise


def _remove_old(directory: int) -> None:
    """Remove what is more than is kept, and what killed processes left."""
    ages = _ages(directory)
    kept = sorted((name for name in ages if name.endswith(_SUFFIX)), key=lambda name: ages[name])
    hidden = (name for name in ages if name.startswith("."))
    abandoned = (name for name in hidden if ages[name] > _ABANDONED_S)
    for name in (*kept[_KEPT:], *abandoned):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)


def _ages(directory: int) -> dict[str, float]:
    """Return how many seconds ago each file of a directory was written."""
    ages = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                ages[entry.name] = time.time() - entry.stat(follow_symlinks=False).st_mtime
    return ages


def _path() -> Path:
    """Return where programs are kept.

    Raises:
        OSError: this user has no home directory, and no other place is named.
    """
    try:
        return cache_dir() / "probe"
    except RuntimeError as error:
        raise FileNotFoundError(str(error)) from error


def _is_own(status: os.stat_result) -> bool:
    """Whether something is this user's, and no one else may change it."""
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE


@contextmanager
def _directory() -> Iterator[int]:
    """Open the directory of the programs, by a descriptor that no one can exchange.

    Raises:
        OSError: it is not there, or may not be read; or it is another user's, or others may write.
    """
    directory = os.open(_path(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _is_own(os.fstat(directory)):
            raise PermissionError(f"other users may write to {_path()}")
        yield directory
    finally:
        os.close(directory)
