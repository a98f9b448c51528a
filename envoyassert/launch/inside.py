"""Files below a root that others may write: of a container, of a process, or a run directory.

What is in an image, or what a process under test left behind, decides which links there are. So
the kernel resolves each path inside its root (openat2(2), RESOLVE_IN_ROOT): a link leads to where
it leads for whoever lives there, and never out. Links of /proc, which lead anywhere, are refused,
and so is what is no regular file where one is read or written: to open a FIFO or a device may wait
for ever, or do something. Nothing here waits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from envoyassert.clock import monotonic_ns
from envoyassert.launch.kernel import mount_file, open_in_root


def proc_root(pid: int, path: str = "/") -> str:
    """Return the root directory of a process, as it is opened from here.

    Args:
        pid: the process.
        path: what is to be found below it; for a relative one it is the directory that the
            process works in.

    Only what is renamed there is noticed there: inotify sees what happens in a container's mounts,
    not what the engine puts there.
    """
    return f"/proc/{pid}/{'root' if path.startswith('/') else 'cwd'}"


@contextlib.contextmanager
def opened(root: str | Path, path: str, flags: int = os.O_PATH, mode: int = 0) -> Iterator[int]:
    """Open what is at a path below a root for the length of a `with` block; see `open_inside`."""
    descriptor = open_inside(root, path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_inside(root: str | Path, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open what is at a path below a root, and return the descriptor.

    Args:
        root: a directory, or `/proc/<pid>/root`.
        path: where it is for whoever has this root; absolute, or relative to the root.
        flags: of open(2). With O_PATH nothing is opened but the place.
        mode: of what is made, with O_CREAT.

    Raises:
        OSError: there is no such file, a link of /proc leads to it (ELOOP), or the kernel is older
            than 5.6 (ENOSYS).
    """
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_in_root(directory, path, flags, mode)
    finally:
        os.close(directory)


def open_regular(root: str | Path, path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """Open a regular file below a root, and return the descriptor.

    Args:
        root: as for `open_inside`.
        path: as for `open_inside`.
        flags: of open(2); with O_CREAT it is made if there is nothing.
        mode: of the file that is made.

    Raises:
        OSError: it is something else, or cannot be opened. A file that is to be written may have
            no second name, which may be one outside (EMLINK).
    """
    try:
        place = open_inside(root, path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        return open_inside(root, path, flags | os.O_EXCL, mode)
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        if flags & os.O_ACCMODE != os.O_RDONLY and found.st_nlink > 1:
            raise OSError(errno.EMLINK, "it has another name as well", path)
        again = flags & ~(os.O_CREAT | os.O_EXCL)
        return os.open(f"/proc/self/fd/{place}", again | os.O_CLOEXEC | os.O_NOCTTY)
    finally:
        os.close(place)


def read_inside(root: str | Path, path: str, limit: int) -> bytes:
    """Return what is in a regular file below a root, up to `limit` bytes.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    with os.fdopen(open_regular(root, path), "rb") as file:
        return file.read(limit)


def write_inside(root: str | Path, path: str, text: str) -> None:
    """Write a file below a root in its place, with the directories that lead there.

    Raises:
        OSError: it cannot be written, or something else is there.
    """
    make_directories(root, str(Path(path).parent))
    descriptor = open_regular(root, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def copy_inside(root: str | Path, path: str, file: Path) -> None:
    """Copy a regular file to a place below a root, with the directories that lead there.

    Raises:
        OSError: it cannot be read or written, or is not a regular file.
    """
    with os.fdopen(open_regular("/", str(file.absolute())), "rb") as source:
        make_directories(root, str(Path(path).parent))
        descriptor = open_regular(root, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(descriptor, "wb") as made:
            shutil.copyfileobj(source, made)


def replace_inside(root: str | Path, path: str, text: str) -> int:
    """Give a file below a root another content, or make it: readers find the one or the other.

    Returns:
        CLOCK_MONOTONIC nanoseconds just before the rename.

    Raises:
        OSError: it cannot be written, or something is there that is neither a file nor a link.
    """
    name = Path(path).name
    new = f".{secrets.token_hex(8)}.new"
    with opened(root, str(Path(path).parent), os.O_PATH | os.O_DIRECTORY) as directory:
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
                raise OSError(errno.EINVAL, "it is not a regular file", path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, 0o644, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            now_ns = monotonic_ns()
            os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=directory)
            raise
    return now_ns


def make_directories(root: str | Path, path: str) -> None:
    """Make a directory below a root, and those that lead there; what is there stays.

    Raises:
        OSError: one cannot be made, or something else is in its place.
    """
    way = "."
    for part in Path(path.lstrip("/")).parts:
        above = opened(root, way, os.O_PATH | os.O_DIRECTORY)
        with above as directory, contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=directory)
        way = f"{way}/{part}"
    with opened(root, way, os.O_PATH | os.O_DIRECTORY):
        pass


def mount_inside(source: str, root: str | Path, path: str) -> None:
    """Make a file appear at another place too, which is a file below a root already (bind mount).

    Raises:
        OSError: not permitted, or no such file.
    """
    with opened(root, path) as place:
        mount_file(source, f"/proc/self/fd/{place}")


def connect_inside(made: socket.socket, root: str | Path, path: str) -> None:
    """Connect a Unix socket to the one whose file is below a root.

    Raises:
        OSError: as connect(2): ENOENT there is no file, ECONNREFUSED no process listens there,
            or it is not a socket's.
    """
    with opened(root, path) as place:
        made.connect(f"/proc/self/fd/{place}")
