"""Where a command runs: a current directory that exists, and Linux for what runs Envoy."""

from __future__ import annotations

import os
import platform

from envoyassert.errors import MachineError

#: What to do about any other system.
REMEDY = "run it on Linux, or in a Linux VM"


def check_here() -> None:
    """Make sure that there is a current directory: paths are relative to it.

    Another process may have removed it.

    Raises:
        MachineError: it was removed.
    """
    try:
        os.getcwd()  # noqa: PTH109 - pathlib calls it too
    except FileNotFoundError as error:
        raise MachineError(
            "the current directory was removed", "change to one that exists (cd)"
        ) from error


def need_linux() -> None:
    """Return on Linux.

    Called before what exists on Linux only is imported.

    Raises:
        MachineError: this is another system.
    """
    system = platform.system()
    if system != "Linux":
        raise MachineError(
            f"this needs Linux, and here is {system}",
            f"{REMEDY}; traces are judged, shown and compared anywhere",
        )
