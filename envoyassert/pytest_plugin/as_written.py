"""The modules of envoyassert are imported as they are written; importing this one sees to it.

pytest rewrites the asserts of each plugin's package, for they may be those of tests. Ours are not,
and a run has to wait a tenth of a second for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


class _AsWritten:
    """Finds the modules of this package before pytest does."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where Python itself finds a module of ours, None for any other."""
        if not name.startswith("envoyassert."):
            return None
        return PathFinder.find_spec(name, path, target)


sys.meta_path.insert(0, _AsWritten)
