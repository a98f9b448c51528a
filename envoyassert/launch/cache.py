"""Where downloads and what was learned of executables are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Return the cache: $ENVOYASSERT_CACHE, else envoyassert/ in the XDG cache."""
    chosen = os.environ.get("ENVOYASSERT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "envoyassert"
