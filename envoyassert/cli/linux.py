"""Commands that run Envoy need Linux, whatever else they need."""

from __future__ import annotations

import platform

from envoyassert.errors import MachineError

#: What to do about any other system.
REMEDY = "run it on Linux, or in a Linux VM"


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
