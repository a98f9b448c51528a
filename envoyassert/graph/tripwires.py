"""Calls after which a trace no longer tells what happens to sockets.

They act on descriptors where no probe looks, or let a call seem to be what it is not.
"""

from __future__ import annotations

from envoyassert.events import Event
from envoyassert.seccomp import may_claim_success

#: unshare(2) and clone(2); close_range(2).
_CLONE_FILES, _CLOSE_RANGE_UNSHARE = 0x400, 2
_UNFOLLOWED = "moved descriptors to a table of their own, or shared them between processes"


def is_tripwire(event: Event) -> bool:
    """Return whether an event is such a call."""
    return bool(why_tripwire(event))


def why_tripwire(event: Event) -> str:
    """Return what such a call does, after its name; "" for any other."""
    call, args = event.call, event.args
    if call in ("io_uring_setup", "pidfd_getfd"):
        return "can act on sockets where no probe looks"
    if call == "other_table":
        return "" if event.errno == "ENOSYS" else f"by {args['table']} numbers are not decoded"
    if call == "seccomp" and event.ok and may_claim_success(args["answers"]):
        return "set a filter that can claim that a call succeeded which the kernel never made"
    alone = (
        (call == "fork" and "shares_files" in args)
        or (call == "unshare" and event.ok and bool(args["flags"] & _CLONE_FILES))
        or (call == "close_range" and event.ok and bool(args["flags"] & _CLOSE_RANGE_UNSHARE))
    )
    return _UNFOLLOWED if alone else ""
