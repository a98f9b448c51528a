"""Keeping the compiled program, so that a session needs no compiler.

A file that is not what this user wrote, or not whole, is as good as none: the program is compiled
again. So is one that the kernel refuses. Where nothing can be kept it is compiled each time.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

from envoyassert.errors import Capability
from envoyassert.launch.kept import Kept
from envoyassert.probe.bcc_import import bcc_version, libraries
from envoyassert.probe.btf import PUBLISHED
from envoyassert.probe.compiled import Compiled, from_bytes, to_bytes
from envoyassert.probe.program_text import kernel_headers_dir

#: The build id of the running kernel is in its notes (a file of sysfs since Linux 2.6).
_NOTES = Path("/sys/kernel/notes")
#: So many programs are kept: of several kernels on one disk, of several releases. Each is shorter
#: than this.
_PROGRAMS = Kept("probe", ".program", most=8, longest=1 << 22)
#: What is written to see whether that can be done, and how much: about as much as a program takes.
_TRIAL, _TRIAL_SIZE = ".trial", 1 << 17


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
    content = _PROGRAMS.recall(key)
    return None if content is None else from_bytes(content, key)


def remember(key: str, compiled: Compiled) -> None:
    """Keep a program; where that cannot be done, nothing happens."""
    _PROGRAMS.remember(key, to_bytes(compiled, key))


def capability() -> Capability:
    """Return whether the compiled program can be kept, by writing a file like it."""
    place = ""
    try:
        place = f"{_PROGRAMS.path()}"
        kept = _PROGRAMS.tried(_TRIAL, _TRIAL_SIZE)
    except OSError as error:
        return Capability(
            "program cache",
            False,
            f"{place or 'none'}: {error.strerror or error}; each session takes a second to compile",
            "set ENVOYASSERT_CACHE to a directory of this user that no other user may write to",
        )
    return Capability("program cache", True, f"{place}, compiled programs: {kept}", "")
