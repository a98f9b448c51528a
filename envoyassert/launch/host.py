"""Which machine this is, for reports."""

from __future__ import annotations

import contextlib
import os
import platform

import envoyassert
from envoyassert.report.results import MachinePart


def this_machine() -> MachinePart:
    """Return what is to be known of this machine, and the versions of Python and envoyassert."""
    system = platform.system()
    # Not every Linux says what it is (os-release(5)); other systems have no such file.
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return MachinePart(
        kernel=platform.release(),
        architecture=platform.machine(),
        system=system,
        host=platform.node(),
        cpus=os.cpu_count() or 0,
        python=platform.python_version(),
        envoyassert=envoyassert.__version__,
    )
