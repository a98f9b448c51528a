"""The current directory, which another process may have removed."""

from __future__ import annotations

import os

from envoyassert.errors import MachineError


def check_here() -> None:
    """Make sure that there is a current directory: paths are relative to it.

    Raises:
        MachineError: it was removed.
    """
    try:
        os.getcwd()  # noqa: PTH109 - pathlib calls it too
    except FileNotFoundError as error:
        raise MachineError(
            "the current directory was removed", "change to one that exists (cd)"
        ) from error
