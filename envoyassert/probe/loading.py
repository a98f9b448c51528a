"""Loading a compiled program into the kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from threading import Thread

from envoyassert.frozen import frozen
from envoyassert.probe import kernel
from envoyassert.probe.compiled import Compiled
from envoyassert.probe.refusal import refused_by_kernel


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
