"""Loading a compiled program into the kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from envoyassert.probe import kernel
from envoyassert.probe.compiled import Compiled
from envoyassert.probe.refusal import refused_by_kernel


@dataclass(frozen=True)
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
    what = ""
    try:
        for name, kind in compiled.maps.items():
            what = f"make the map {name}"
            sized = replace(kind, entries=entries.get(name, kind.entries))
            loaded.maps[name] = kernel.create_map(name, sized)
        for name, program_kind in kinds.items():
            what = f"load the function {name}"
            code = compiled.functions[name].with_maps(loaded.maps)
            loaded.functions[name] = kernel.load_program(name, program_kind, code)
    except OSError as error:
        loaded.close()
        raise refused_by_kernel(what, error) from error
    return loaded
