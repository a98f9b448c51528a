"""This machine, for a session: the probe, loaded when a run needs it, and what a report says."""

from __future__ import annotations

import contextlib
import os
import platform

from typing_extensions import Self

import envoyassert
from envoyassert.errors import MachineError
from envoyassert.launch.sweep import sweep
from envoyassert.probe import Tracer, load_tracer
from envoyassert.pytest_plugin.termination import interrupt_on_sigterm
from envoyassert.report.results import MachinePart


class ProbeHolder:
    """Loads the tracer once, remembers why that failed, and closes it; a context manager.

    Args:
        tracer: `ebpf` for the probe, or `strace`.
        witness: `strace` for a second record of each run, or "".
    """

    def __init__(self, tracer: str = "ebpf", witness: str = "") -> None:
        self._tracer, self._witness = tracer, witness
        self._probe: Tracer | None = None
        self._error: MachineError | None = None

    def load(self) -> Tracer:
        """Return the probe; the first call removes what killed sessions left, and loads it.

        Raises:
            MachineError: the machine is not supported.
        """
        if self._error is not None:
            # A new one each time: pytest adds to the traceback of the one that it is given.
            raise type(self._error)(self._error.message, self._error.remedy) from self._error
        if self._probe is None:
            interrupt_on_sigterm()
            sweep()
            try:
                self._probe = load_tracer(self._tracer, self._witness)
            except MachineError as error:
                self._error = error
                raise
        return self._probe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._probe is not None:
            self._probe.close()


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
