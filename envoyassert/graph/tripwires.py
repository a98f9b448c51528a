"""Calls after which a trace no longer shows what happens to sockets.

They act on descriptors where no probe looks, or let a call seem to be what it is not.
"""

from __future__ import annotations

from envoyassert.calls import CALLS
from envoyassert.events import Event


def is_tripwire(event: Event) -> bool:
    """Return whether an event is such a call."""
    return bool(why_tripwire(event))


def why_tripwire(event: Event) -> str:
    """Return what such a call does, after its name; "" for any other."""
    hides = CALLS[event.call].hides
    return hides(event) if hides is not None else ""
