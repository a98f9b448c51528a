"""Where the probe's C code is, and its text as one file."""

from __future__ import annotations

import re
from pathlib import Path

from envoyassert.errors import ProbeUnavailableError
from envoyassert.wire import static_asserts, type_enum

MAIN = "envoyassert.bpf.c"
_INCLUDE = re.compile(r'#include "([\w.]+)"\s*')


def source_dir() -> Path:
    """Return the absolute directory of the C code: in an installed package, or in the checkout.

    Raises:
        ProbeUnavailableError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "_bpf", package.parent / "bpf"):
        if (candidate / MAIN).is_file():
            return candidate
    raise ProbeUnavailableError(
        f"the probe's source {MAIN} is missing from this installation",
        "install envoyassert again, or run it from a complete checkout",
    )


def kernel_headers_dir() -> Path:
    """Return the directory of the stub headers that stand in for kernel headers."""
    return source_dir() / "stub"


def program_text() -> str:
    """Return the whole program.

    bcc rewrites map operations in the main file alone, so our own includes are put in place; line
    markers keep the compiler's messages about the original files. The types of records come before
    the layout, its assertions behind it.
    """
    directory = source_dir()
    parts: list[str] = []
    for number, line in enumerate((directory / MAIN).read_text().splitlines(keepends=True), 1):
        found = _INCLUDE.fullmatch(line)
        if not found:
            parts.append(line)
            continue
        name = found.group(1)
        if name == "events.h":
            parts.append(f'#line 1 "calls"\n{type_enum()}')
        parts.append(f'#line 1 "{name}"\n{(directory / name).read_text()}')
        if name == "events.h":
            parts.append(f'#line 1 "wire.py"\n{static_asserts()}')
        parts.append(f'#line {number + 1} "{MAIN}"\n')
    return "".join(parts)
