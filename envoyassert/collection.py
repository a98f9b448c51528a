"""Python's search for garbage in cycles, and when it is only in the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Do not look for garbage in cycles meanwhile: what is made here is all kept.

    The collector looks at all objects again and again while their number grows. That takes as long
    as making them, and finds nothing. Other threads are not looked after meanwhile either.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
