"""What is ready before an Envoy is started as a process: its command line, and who starts it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from envoyassert.errors import MachineError
from envoyassert.launch.base import LaunchSpec
from envoyassert.launch.call_filter import call_filter, filter_calls
from envoyassert.launch.executable import is_for_everybody, shown_to
from envoyassert.launch.limits import (
    Limits,
    free_ports_from,
    hand_over,
    ordinary_user,
    starting_command,
)
from envoyassert.launch.namespace import NamespaceThread


class Starters:
    """Threads that start the Envoys of one launcher, each with a filter of calls."""

    def __init__(self) -> None:
        self._threads: dict[bytes, NamespaceThread] = {}
        self._mounted: dict[Path, Path] = {}

    def prepared(
        self,
        spec: LaunchSpec,
        binary: Path,
        arguments: Sequence[str],
        directory: Path,
        namespace: NamespaceThread,
    ) -> tuple[list[str], NamespaceThread]:
        """Return the command line that starts an Envoy, and the thread that is to start it.

        Args:
            spec: what was asked for.
            binary: the executable.
            arguments: its arguments.
            directory: the run directory, which is given to Envoy's user.
            namespace: a thread in Envoy's namespaces.

        Raises:
            MachineError: it cannot be started as it is asked for.
        """
        if spec.tracer and spec.agent:
            raise MachineError(
                "strace cannot watch an Envoy that an agent starts (`envoy.agent`)",
                "leave strace out for this scenario",
            )
        limits = spec.limits.in_full(spec.needed, ordinary_user())
        program, first = binary, limits.port_start
        try:
            if first is not None:
                namespace.call(lambda: free_ports_from(first))
            if limits.uid and not is_for_everybody(binary):
                if binary not in self._mounted:
                    number = len(self._mounted)
                    self._mounted[binary] = shown_to(namespace, binary, directory, number)
                program = self._mounted[binary]
            if limits.uid:
                hand_over(directory, limits.uid)
            thread = self._thread(limits, namespace)
        except OSError as error:
            raise MachineError(
                f"Envoy cannot be limited: {error}", "run as root with all of its capabilities"
            ) from error
        command = [*spec.tracer, str(program), *arguments]
        return starting_command(limits, spec.env, command, spec.agent), thread

    def _thread(self, limits: Limits, namespace: NamespaceThread) -> NamespaceThread:
        program = call_filter(limits.capabilities) if limits.seccomp else b""
        if not program:
            return namespace
        if program not in self._threads:
            made = partial(NamespaceThread, partial(_filter, program), "envoyassert-start")
            # A new thread has the namespaces of the one that makes it.
            self._threads[program] = namespace.call(made)
        return self._threads[program]

    def close(self) -> None:
        """End the threads; what they started must have ended."""
        with contextlib.ExitStack() as stack:
            for thread in self._threads.values():
                stack.callback(thread.close)


def _filter(program: bytes) -> None:
    try:
        filter_calls(program)
    except OSError as error:
        # A kernel, or a sandbox, that has no filters.
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
