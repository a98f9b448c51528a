"""Names of the functions in stacks: a table beside the events of a trace.

The probe records a frame as build id and offset, which stays true wherever it is read. The names
were looked up where the run took place and the files were at hand; from then on they are part of
the trace, so that judging it elsewhere gives the same answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from envoyassert.events import Event
from envoyassert.frozen import brief_repr, frozen

#: How many frames of a stack are recorded, the innermost ones; EA_FRAME_COUNT of bpf/events.h.
DEPTH = 8
#: Calls with which a stack is recorded.
STACKED = ("socket", "bind", "listen", "dup", "dup2", "dup3", "fcntl")

_FRAME = re.compile(r"([0-9a-f]{40}|ip)\+0x([0-9a-f]+)$")
#: What the kernel reports of a frame whose file it could not look up at that instant.
_NOWHERE = "ip"
_SITE_LENGTH = 12
#: A callee that is in a library: nothing is between the two, so nothing is hidden.
IN_LIBRARY = "(in a library)"


@frozen
class ObjectFile:
    """An executable or library that is part of a stack.

    Args:
        path: where it was, or "" if it was not found.
        problem: why its functions have no names, "" if they have.
    """

    path: str = ""
    problem: str = ""


@frozen
class Symbols:
    """What is known of the frames of a trace.

    Args:
        names: the function of each frame that could be named, C++ names in plain text.
        callees: for the second frame of a stack the function that it called. A C library without
            frame pointers hides its direct caller: the return address in it is not on the chain.
            But what the frame after it called is in the code there, unless it was called through
            a pointer.
        files: the files that frames are in, by their build id.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    callees: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, ObjectFile] = field(default_factory=dict)

    __repr__ = brief_repr

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON types."""
        files = {
            build_id: {"path": file.path, "problem": file.problem}
            for build_id, file in self.files.items()
        }
        return {"names": dict(self.names), "callees": dict(self.callees), "files": files}

    def name_of(self, frame: str) -> str:
        """Return the function of a frame, or "" if it has no name.

        A log that was imported has functions by name in the first place.
        """
        if _FRAME.match(frame):
            return self.names.get(frame, "")
        return frame.rpartition("+")[0] or frame

    def functions_of(self, stack: tuple[str, ...]) -> tuple[str, ...]:
        """Return the functions of a stack as far as they have names, innermost first.

        A direct caller of the C library that has no frame is in its place.
        """
        names = [self.name_of(frame) for frame in stack]
        called = self.callees.get(stack[1], "") if len(stack) > 1 else ""
        if called not in ("", IN_LIBRARY, names[0]):
            names.insert(1, called)
        return tuple(name for name in names if name)

    def problem_of(self, frame: str) -> str:
        """Return why a frame has no name for lack of symbols, or "" if that is not why."""
        build_id, _ = split_frame(frame)
        file = self.files.get(build_id)
        if self.name_of(frame) or build_id == "":
            return ""
        if file is None:
            return f"the file with build id {build_id} was not looked at"
        where = file.path or "the file"
        return f"{where} (build id {build_id}) {file.problem}" if file.problem else ""


def split_frame(frame: str) -> tuple[str, int]:
    """Return the build id of a frame and its offset in the file; `("", 0)` if it has neither."""
    found = _FRAME.match(frame)
    if found is None or found[1] == _NOWHERE:
        return "", 0
    return found[1], int(found[2], 16)


def call_site(event: Event) -> tuple[str, str] | None:
    """Return from where a call was made: the caller's build id, and a class that stands for it.

    Two calls of one class were made through the same calls in the same executable, whatever that
    executable is named and wherever it was loaded. What the frames of libraries are is left out, so
    the class is the same on every system.

    Returns:
        None if the stack was not recorded, or not in full.
    """
    if not stack_is_own(event) or not event.stack:
        return None
    places = [split_frame(frame) for frame in event.stack]
    if any(not build_id for build_id, _ in places):
        return None
    # The outermost frame may be the C library's own, below main(); the caller is what called into
    # the library in which the call itself stands.
    caller = next((build_id for build_id, _ in places if build_id != places[0][0]), places[0][0])
    offsets = [f"{offset:x}" for build_id, offset in places if build_id == caller]
    site = f"{caller}:{event.call}:{','.join(offsets)}"
    return caller, hashlib.sha256(site.encode()).hexdigest()[:_SITE_LENGTH]


def stack_is_own(event: Event) -> bool:
    """Whether a recorded stack is surely that of this very call.

    The stack of a blocking socket is taken once for each place, whoever called from further out
    (bpf/stacks.h).
    """
    return event.call != "socket" or "SOCK_NONBLOCK" in (event.args.get("flags") or ())


def is_cut(event: Event) -> bool:
    """Whether callers further out than those recorded may exist."""
    return len(event.stack) >= DEPTH and bool(_FRAME.match(event.stack[0]))


__all__ = [
    "DEPTH",
    "IN_LIBRARY",
    "STACKED",
    "ObjectFile",
    "Symbols",
    "call_site",
    "is_cut",
    "split_frame",
    "stack_is_own",
]
