"""Attaching the functions of the program, and detaching them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from envoyassert.probe import kernel
from envoyassert.probe.refusal import refused_by_kernel
from envoyassert.probe.tracepoints import RAW_HOOKS, named_hooks


class Hooks:
    """The hooks of one loaded program; made before it is loaded.

    Args:
        named: descriptors of the named tracepoints, if another process attached them.
        raw: those of the raw ones.

    Raises:
        ProbeUnavailableError: tracefs is not mounted, or lacks a tracepoint.
    """

    def __init__(self, named: Sequence[int] = (), raw: Sequence[int] = ()) -> None:
        self._named = named_hooks()
        self._raw = list(RAW_HOOKS)
        self._named_descriptors = list(named)
        self._raw_descriptors = list(raw)

    @property
    def descriptors(self) -> tuple[Sequence[int], Sequence[int]]:
        """What keeps the hooks attached, in whatever process: of named and of raw tracepoints."""
        return self._named_descriptors, self._raw_descriptors

    @property
    def kinds(self) -> dict[str, int]:
        """The functions that are attached, and as what each is loaded."""
        named = {function: kernel.TRACEPOINT for _, function in self._named}
        return {**named, **{function: kernel.RAW_TRACEPOINT for _, function in RAW_HOOKS}}

    def attach(self, functions: Mapping[str, int]) -> None:
        """Attach all of them, which are not attached.

        Args:
            functions: descriptors by name.

        Raises:
            ProbeLoadError: the kernel refused one; none is attached then.
        """
        what = ""
        try:
            for number, function in self._named:
                what = f"attach the function {function}"
                attached = kernel.attach_tracepoint(number, functions[function])
                self._named_descriptors.append(attached)
            for tracepoint, function in self._raw:
                what = f"attach the function {function}"
                attached = kernel.attach_raw_tracepoint(tracepoint, functions[function])
                self._raw_descriptors.append(attached)
        except OSError as error:
            self.detach()
            raise refused_by_kernel(what, error) from error

    def add(self, tracepoint: str, function: str, fd: int) -> None:
        """Attach one more function to a raw tracepoint.

        Args:
            tracepoint: its name.
            function: of the program.
            fd: its descriptor.

        Raises:
            ProbeLoadError: the kernel refused.
        """
        try:
            self._raw_descriptors.append(kernel.attach_raw_tracepoint(tracepoint, fd))
        except OSError as error:
            raise refused_by_kernel(f"attach the function {function}", error) from error
        self._raw.append((tracepoint, function))

    def detach(self) -> None:
        """Detach all of them, and wait until the kernel has done it: a third of a second."""
        for descriptors in (self._raw_descriptors, self._named_descriptors):
            while descriptors:
                os.close(descriptors.pop())

    def close(self) -> None:
        """Detach all of them; the named tracepoints only begin to be detached."""
        while self._raw_descriptors:
            os.close(self._raw_descriptors.pop())
        named, self._named_descriptors = self._named_descriptors, []
        # For each the kernel waits until no CPU can be in it.
        kernel.close_unawaited(named)
