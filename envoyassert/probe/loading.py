"""Loading a compiled program into the kernel, and attaching its functions to their hooks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Thread

from envoyassert.frozen import frozen
from envoyassert.probe import kernel
from envoyassert.probe.compiled import Compiled
from envoyassert.probe.refusal import refused_by_kernel
from envoyassert.probe.tracepoints import RAW_HOOKS, named_hooks


@frozen
class Loaded:
    """A program in the kernel, not attached to anything.

    Args:
        maps: descriptors by the names of the maps.
        functions: descriptors by the names of the functions.
    """

    maps: dict[str, int]
    functions: dict[str, int]

    def close(self) -> None:
        """Unload it; what is attached stays loaded."""
        for descriptors in (self.functions, self.maps):
            for fd in descriptors.values():
                os.close(fd)
            descriptors.clear()


def load(compiled: Compiled, entries: Mapping[str, int], kinds: Mapping[str, int]) -> Loaded:
    """Make the maps, and load the functions.

    Args:
        compiled: the program.
        entries: of maps that have another size than in the source.
        kinds: `kernel.TRACEPOINT` or `kernel.RAW_TRACEPOINT` for each function that is wanted.

    Raises:
        ProbeLoadError: the kernel refused something; nothing is left then.
    """
    loaded = Loaded({}, {})
    try:
        # Maps of maps last: the kernel is shown one of those that they may hold, a ring.
        for name, kind in sorted(compiled.maps.items(), key=lambda one: _holds_maps(one[1])):
            sized = replace(kind, entries=entries.get(name, kind.entries))
            inner = loaded.maps["records"] if _holds_maps(kind) else 0
            try:
                loaded.maps[name] = kernel.create_map(name, sized, inner)
            except OSError as error:
                raise refused_by_kernel(f"make the map {name}", error) from error
        load_functions(loaded, compiled, kinds)
    except BaseException:
        loaded.close()
        raise
    return loaded


def _holds_maps(kind: kernel.MapKind) -> bool:
    return kind.kind == kernel.ARRAY_OF_MAPS


def load_functions(loaded: Loaded, compiled: Compiled, kinds: Mapping[str, int]) -> None:
    """Load functions at the same time: the kernel takes most of it for few of them.

    Args:
        loaded: has the maps, and gets the functions.
        compiled: the program.
        kinds: as for `load`.

    Raises:
        ProbeLoadError: the kernel refused one.
    """
    refused: dict[str, OSError] = {}

    def load_one(name: str, code: bytes) -> None:
        try:
            loaded.functions[name] = kernel.load_program(name, kinds[name], code)
        except OSError as error:
            refused[name] = error

    codes = {name: compiled.functions[name].with_maps(loaded.maps) for name in kinds}
    threads = [Thread(target=load_one, args=pair) for pair in codes.items()]
    try:
        for thread in threads:
            thread.start()
    finally:
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    for name in kinds:
        if name in refused:
            raise refused_by_kernel(f"load the function {name}", refused[name]) from refused[name]


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
