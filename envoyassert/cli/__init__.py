"""The command line. Every command is a module of its own, imported when it is called.

So `replay`, `show`, `import`, `schema` and `check` need neither root nor bcc nor Docker. This
module itself is what the program begins with: it imports nothing that takes time.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from envoyassert import __version__

if TYPE_CHECKING:
    from envoyassert.cli.command_line import app, main

__all__ = ["app", "main", "program"]

#: After how many new objects Python looks for garbage. By default after some hundred, so it looks
#: hundreds of times while a command is loaded, of which nothing is garbage. This is more than what
#: `run` loads before its first run, after which it is left out of all looks.
_NEW_OBJECTS = 200_000


def program() -> None:
    """Be the program `envoyassert`: `main`, where nothing else of the process is to come."""
    if sys.argv[1:] == ["--version"] and _says_version():
        return
    gc.set_threshold(_NEW_OBJECTS)
    from envoyassert.cli.command_line import run_to_the_end

    run_to_the_end()


def _says_version() -> bool:
    """Print the version, and return whether that was possible; if not, click says why."""
    if sys.stdout is None:
        return False
    try:
        os.write(1, f"envoyassert, version {__version__}\n".encode())
    except OSError:
        return False
    return True


def __getattr__(name: str) -> object:
    """Return what belongs to this module for who imports it, and is not needed by the program."""
    if name in ("app", "main"):
        from envoyassert.cli import command_line

        return getattr(command_line, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
