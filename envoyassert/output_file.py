"""Every file that envoyassert writes for its user: whole or not at all, and never another one.

Often it is root who writes, into a directory of another user. So a regular file is replaced, a
device or a FIFO is written to, and anything else is refused, links above all. Below a directory of
our own (`.envoyassert`, a report) no directory may be a link either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from envoyassert.errors import MachineError
from envoyassert.frozen import frozen

#: Descriptors of this process, as paths: it is written to them, not to what they were opened from.
_STREAM = re.compile(r"/dev/(?:(stdout)|(stderr)|fd/(\d+))|/proc/self/fd/(\d+)")
_NUMBERS = {"stdout": 1, "stderr": 2}
#: Only places are opened, which takes no permission to list them; macOS has no such flag.
_PLACE = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_lines(lines: Iterable[str], path: str | Path, *, below: Path | None = None) -> None:
    """Write lines into a file that appears complete or not at all, making its directory.

    A file that is replaced keeps its mode, and its owner where root replaces it. What root makes
    under sudo belongs to who called sudo.

    Args:
        lines: without their ends.
        path: a file, a device, a FIFO that is read, or `/dev/stdout` and the like.
        below: a directory above `path` that is no link, and has none on the way to the file.

    Raises:
        MachineError: it cannot be written, or is a link, a socket, a block device or a directory.
    """
    _write(_with_ends(lines), Path(path), below)


def write_files(files: Mapping[Path, Iterable[str]], *, below: Path) -> None:
    """Write several files that appear all or not at all, as far as one process can see to that.

    All are written beside those that they replace, before the first one is replaced. Whatever
    interrupts that (Ctrl-C) waits until the last one is.

    Args:
        files: the lines of each regular file, without their ends, by its path.
        below: a directory above them all; see `write_lines`.

    Raises:
        MachineError: one cannot be written; none was replaced, or the message names which were.
    """
    with contextlib.ExitStack() as stack:
        opened: dict[Path, int | None] = {}
        written: list[_Unfinished] = []
        try:
            for path, lines in files.items():
                with _complaints(path):
                    if path.parent not in opened:
                        opened[path.parent] = _entered(path.parent, below, stack)
                    directory = opened[path.parent]
                    name = path if directory is None else Path(path.name)
                    there = _there(directory, name)
                    _refuse(there)
                    if there is not None and not stat.S_ISREG(there.st_mode):
                        raise OSError(errno.EINVAL, "it is not a regular file")
                    written.append(_beside(directory, name, there, _with_ends(lines)))
            _replace_all(written, list(files))
        except BaseException:
            for one in written:
                one.discard()
            raise


def _entered(path: Path, below: Path, stack: contextlib.ExitStack) -> int | None:
    """Open a directory until a stack is closed; None where names cannot be relative to it."""
    if os.open in os.supports_dir_fd:
        return stack.enter_context(_opened(path, below))
    path.mkdir(parents=True, exist_ok=True)  # Windows
    return None


def _replace_all(written: Sequence[_Unfinished], paths: Sequence[Path]) -> None:
    """Replace files, the rest of them too if Ctrl-C or SIGTERM comes in between."""
    try:
        for one in written:
            if not one.is_in_place:
                one.replace()
    except OSError as error:
        left = [str(p) for one, p in zip(written, paths, strict=True) if not one.is_in_place]
        raise MachineError(
            f"{', '.join(left)} cannot be written: {error.strerror}; written are "
            f"{len(written) - len(left)} of {len(written)} files",
            "look at these, and do it again",
        ) from error
    except BaseException:
        _replace_all(written, paths)
        raise


def write_text(text: str, path: str | Path) -> None:
    """Write a text as it is, the ends of its lines included. Like `write_lines` in all else."""
    _write([text], Path(path), None)


def _write(pieces: Iterable[str], path: Path, below: Path | None) -> None:
    with _complaints(path):
        stream = _stream(path)
        if stream is not None:
            _write_through(stream, pieces)
        elif os.open not in os.supports_dir_fd:  # Windows
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(None, path, pieces)
        else:
            with _opened(path.parent, below) as directory:
                _replace(directory, Path(path.name), pieces)


def append_text(text: str, path: str | Path) -> None:
    """Append to a file that others append to as well. Raises like `write_lines`."""
    path = Path(path)
    with _complaints(path):
        stream = _stream(path)
        if stream is None:
            there = _there(None, path)
            _refuse(there)
            flags = os.O_APPEND | (os.O_CREAT | os.O_EXCL if there is None else 0)
            stream = _opened_to_write(None, path, flags)
            if there is None:
                _give(stream, _caller())
        _write_through(stream, [text])


def check_output(path: str | Path) -> None:
    """Refuse what `write_lines` would refuse, before the work for it. Raises `MachineError`."""
    path = Path(path)
    with _complaints(path):
        if _STREAM.fullmatch(str(path)) is None:
            _refuse(_there(None, path))


@contextlib.contextmanager
def directory_at(path: Path) -> Iterator[int]:
    """Open a directory that is no link for the length of a `with` block; it is made if need be.

    Raises:
        OSError: it cannot be made, or is something else.
    """
    with _opened(path, path) as directory:
        descriptor = os.open(".", os.O_RDONLY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _complaints(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{path} cannot be written: {error.strerror}",
            ("free some space, or " if error.errno in _FULL else "")
            + "name a file or directory elsewhere",
        ) from error


def _stream(path: Path) -> int | None:
    """Return a copy of the descriptor that a path stands for, None if it stands for a file."""
    found = _STREAM.fullmatch(str(path))
    if found is None:
        return None
    word = next(word for word in found.groups() if word)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return os.dup(_NUMBERS[word] if word in _NUMBERS else int(word))


def _replace(directory: int | None, path: Path, pieces: Iterable[str]) -> None:
    """Replace a regular file by a new one, or write to what else may be written to."""
    there = _there(directory, path)
    _refuse(there)
    if there is not None and not stat.S_ISREG(there.st_mode):
        _write_through(_opened_to_write(directory, path), pieces)
        return
    unfinished = _beside(directory, path, there, pieces)
    try:
        unfinished.replace()
    except BaseException:
        unfinished.discard()
        raise


@frozen
class _Unfinished:
    """A new file beside the one that it is to replace.

    Args:
        directory: descriptor of their directory, None for that of this process.
        path: the file that is replaced.
        beside: the new one.
    """

    directory: int | None
    path: Path
    beside: Path

    @property
    def is_in_place(self) -> bool:
        """Whether it is not beside it any longer."""
        return _there(self.directory, self.beside) is None

    def replace(self) -> None:
        """Put it in place. Raises OSError."""
        os.replace(self.beside, self.path, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    def discard(self) -> None:
        """Remove it, if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(self.beside, dir_fd=self.directory)


def _beside(
    directory: int | None, path: Path, there: os.stat_result | None, pieces: Iterable[str]
) -> _Unfinished:
    """Write a file beside the one that it is to replace. Raises OSError, and leaves nothing then.

    Args:
        directory: descriptor of its directory.
        path: the file that is to be replaced.
        there: what is there of it.
        pieces: what is written.
    """
    # In the same directory, or the rename would be a copy.
    unfinished = _Unfinished(
        directory, path, path.with_name(f".envoyassert-{secrets.token_hex(8)}")
    )
    descriptor = _opened_to_write(directory, unfinished.beside, os.O_CREAT | os.O_EXCL)
    try:
        with _text(descriptor) as file:
            file.writelines(pieces)
            _give(descriptor, _caller() if there is None else (there.st_uid, there.st_gid))
            if there is not None and os.name == "posix":
                os.fchmod(descriptor, there.st_mode & 0o777)
    except BaseException:
        unfinished.discard()
        raise
    return unfinished


def _opened_to_write(directory: int | None, path: Path, flags: int = 0) -> int:
    """Open what is no link; a FIFO without a reader is an error, and no reason to wait."""
    unlinked = _NOFOLLOW | getattr(os, "O_BINARY", 0)
    waiting = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    descriptor = os.open(path, os.O_WRONLY | unlinked | waiting | flags, 0o666, dir_fd=directory)
    if waiting:
        os.set_blocking(descriptor, True)
    return descriptor


def _write_through(descriptor: int, pieces: Iterable[str]) -> None:
    # As for all that is printed: a reader that has seen enough is no error.
    with contextlib.suppress(BrokenPipeError), _text(descriptor) as file:
        file.writelines(pieces)


def _with_ends(lines: Iterable[str]) -> Iterator[str]:
    return (f"{line}\n" for line in lines)


def _text(descriptor: int) -> IO[str]:
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape")


def _there(directory: int | None, path: Path) -> os.stat_result | None:
    """Return what is at a path, the link itself if it is one; None if there is nothing."""
    try:
        return os.stat(path, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _refuse(there: os.stat_result | None) -> None:
    """Refuse what is neither a regular file nor there to be written to. Raises OSError."""
    if there is None or stat.S_ISREG(there.st_mode):
        return
    if stat.S_ISLNK(there.st_mode):
        raise OSError(errno.ELOOP, "it is a link")
    if stat.S_ISDIR(there.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISCHR(there.st_mode) or stat.S_ISFIFO(there.st_mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a stream")


@contextlib.contextmanager
def _opened(path: Path, below: Path | None) -> Iterator[int]:
    """Open a directory, which is made if need be; see `write_lines`."""
    if below is None:
        directory = _open_directory(path)
    else:
        directory = _open_directory(below.parent)
        for part in (below.name, *path.relative_to(below).parts):
            directory = _open_part(directory, part or ".", _NOFOLLOW)
    try:
        yield directory
    finally:
        os.close(directory)


def _open_directory(path: Path) -> int:
    try:
        return os.open(path, _PLACE)
    except FileNotFoundError:
        return _open_part(_open_directory(path.parent), path.name, 0)


def _open_part(above: int, name: str, flags: int) -> int:
    """Open a directory in another one, which is closed; it is made if there is none."""
    try:
        there = _there(above, Path(name))
        if there is None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=above)
                _give(name, _caller(), above)
        elif flags and stat.S_ISLNK(there.st_mode):
            raise OSError(errno.ELOOP, f"{name} is a link")
        return os.open(name, _PLACE | flags, dir_fd=above)
    finally:
        os.close(above)


def _give(what: int | str, owner: tuple[int, int] | None, directory: int | None = None) -> None:
    """Give a file that root made to its owner, where that can be done."""
    if owner is None or os.name != "posix" or os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):  # a number that this user namespace does not have
        if isinstance(what, int):
            os.fchown(what, *owner)
        else:
            os.chown(what, *owner, dir_fd=directory, follow_symlinks=False)


def _caller() -> tuple[int, int] | None:
    """Return user and group of who called sudo, None without sudo."""
    numbers = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if not all(one.isdecimal() for one in numbers):
        return None
    return int(numbers[0]), int(numbers[1])
