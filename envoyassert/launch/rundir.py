"""Directories of runs: one for each launcher, named after its owner, removed with it.

The owner is in the directory's name, so there is no instant at which a directory has none. Names
are short: a Unix socket's path holds at most 107 bytes (unix(7)).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from envoyassert.errors import MachineError
from envoyassert.launch.inside import copy_inside, make_directories, write_inside
from envoyassert.launch.kernel import Owner
from envoyassert.launch.processes import MARK, end_marked, environment_of, processes
from envoyassert.launch.user_namespace import outer_uid
from envoyassert.scenario.file_names import LOGS, NETNS

__all__ = [
    "LOGS",
    "NETNS",
    "checked_name",
    "create_rundir",
    "in_rundir",
    "remove_rundir",
    "root",
    "sweep_rundirs",
    "write_files",
]

#: Longest temporary directory that leaves room for names of sockets.
_LONGEST_ROOT = 40
#: How long processes may take to end that were killed.
_KILLED_S = 5.0


def root() -> Path:
    """Return the directory that holds all run directories of this user."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > _LONGEST_ROOT:
        base = "/tmp"
    return Path(base) / f"envoyassert-{outer_uid()}"


def create_rundir() -> Path:
    """Make a new run directory owned by this process.

    Raises:
        MachineError: it cannot be written, or belongs to another user.
    """
    try:
        parent = root()
    except FileNotFoundError as error:
        raise MachineError(
            "there is no directory for temporary files that can be written",
            "set TMPDIR to one (in a container with a read-only root: mount a tmpfs on /tmp)",
        ) from error
    try:
        return _make_in(parent)
    except OSError as error:
        raise MachineError(
            f"no run directory can be made in {parent}: {error.strerror}",
            "free some space, or set TMPDIR to a directory that can be written",
        ) from error


def _make_in(parent: Path) -> Path:
    """Make the directory and, if need be, its parent, which others remove while it is empty."""
    while True:
        # With `exist_ok` pathlib looks again, and finds nothing if it was removed meanwhile.
        with contextlib.suppress(FileExistsError):
            parent.mkdir(mode=0o755)
        try:
            found = parent.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise MachineError(
                    f"{parent} is not a directory of this user", "remove it, or set TMPDIR"
                )
            return Path(tempfile.mkdtemp(prefix=f"{Owner.current()}-", dir=parent))
        except FileNotFoundError:
            continue


def write_files(directory: Path, files: Mapping[str, str | Path | None]) -> None:
    """Write files by relative name into a run directory, replacing what is there.

    Args:
        directory: the run directory.
        files: by name the text, the file that is copied, or None: the name is a directory's.

    Raises:
        ValueError: a name leads out of the directory.
        MachineError: a file cannot be written or copied.
    """
    for name, content in files.items():
        checked = checked_name(name)
        try:
            if content is None:
                make_directories(directory, checked)
            elif isinstance(content, Path):
                copy_inside(directory, checked, content)
            else:
                write_inside(directory, checked, content)
        except OSError as error:
            raise MachineError(
                f"{directory / checked} cannot be written: {error.strerror}",
                "free some space, or set TMPDIR",
            ) from error


def in_rundir(files: Mapping[str, str | Path | None], rundir: str) -> dict[str, str | Path | None]:
    """Return files, as `write_files` takes them, with `${rundir}` replaced in their text."""
    return {
        name: content.replace("${rundir}", rundir) if isinstance(content, str) else content
        for name, content in files.items()
    }


def checked_name(name: str) -> str:
    """Return `name` if it is a relative path that stays inside its directory.

    Raises:
        ValueError: it is not.
    """
    if not name or name.startswith("/") or ".." in Path(name).parts:
        raise ValueError(f"`{name}` does not name a file inside the run directory")
    return name


def remove_rundir(directory: Path) -> None:
    """Remove a run directory, which may be gone already, and its parent if it was the last."""
    shutil.rmtree(directory, ignore_errors=True)
    with contextlib.suppress(OSError):
        directory.parent.rmdir()


def sweep_rundirs() -> list[str]:
    """Remove directories of dead owners, and kill processes that were left running in them.

    Returns:
        The paths that were removed.
    """
    removed = []
    try:
        directories = list(root().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    for directory in directories:
        owner = Owner.parse(directory.name.rpartition("-")[0])
        if owner is not None and owner.is_dead():
            _kill_processes_in(directory)
            remove_rundir(directory)
            removed.append(str(directory))
    return removed


def _kill_processes_in(directory: Path) -> None:
    """Kill every process that was started in a run directory, and all that have the same mark."""
    marks: set[str] = set()
    for pid, pidfd in processes():
        own = [entry for entry in environment_of(pid) if entry.startswith(f"{MARK}=".encode())]
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            # The pidfd was opened first: the process that is looked at is the one that is killed.
            if Path(f"/proc/{pid}/cwd").readlink() == directory:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            elif not own or os.fsencode(directory) + b"/" not in command:
                continue
        except OSError:
            continue  # ended, or not ours to look at
        marks.update(map(os.fsdecode, own))
    end_marked(marks, _KILLED_S)
