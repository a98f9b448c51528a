"""A listener drawn in text: kernel sockets, their descriptors, and who serves each.

socket 1 -+- descriptor       --- worker_0
          '- descriptor (dup) --- worker_1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from envoyassert.compare.profile import Listener, Profile
from envoyassert.graph.model import Descriptor, KernelSocket
from envoyassert.judge.roles import names_of
from envoyassert.judge.shape import serving_of
from envoyassert.report.table import count
from envoyassert.texts.values import threads_words

#: Lines of one picture; with many workers they are identical.
_MAX_LINES = 8
#: Width of the left one of two pictures.
_HALF = 48


def picture_lines(profile: Profile, listener: Listener | None) -> list[str]:
    """Return the picture of a listener in one run.

    Args:
        profile: the run.
        listener: one of its listeners, None if it does not have it.
    """
    if listener is None or not listener.group.sockets:
        return ["(no socket)"]
    sockets = [s for s in listener.group.sockets if s.is_live or profile.ended]
    if not sockets:
        return ["(no socket is open)"]
    lines = [
        line
        for number, socket in enumerate(sockets, 1)
        for line in _socket(profile, number, socket)
    ]
    if len(lines) > _MAX_LINES:
        more = count(len(lines) - _MAX_LINES + 1, "more descriptor")
        lines = [*lines[: _MAX_LINES - 1], f"… and {more}"]
    return lines


def side_by_side(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return two pictures next to each other, or one below the other if they are too wide."""
    titled = [["before", *before], ["after", *after]]
    if max(map(len, titled[0])) >= _HALF:
        return [f"  {line}" for line in (*titled[0], *titled[1])]
    return [
        f"  {left:<{_HALF}}{right}".rstrip()
        for left, right in zip_longest(titled[0], titled[1], fillvalue="")
    ]


def _socket(profile: Profile, number: int, socket: KernelSocket) -> Iterator[str]:
    descriptors = [d for d in socket.descriptors if d.is_open] or socket.descriptors
    names = [_name(descriptor) for descriptor in descriptors]
    width = max(map(len, names))
    lead = f"socket {number}"
    for index, (descriptor, name) in enumerate(zip(descriptors, names, strict=True)):
        last = index == len(descriptors) - 1
        joint = "---" if len(descriptors) == 1 else "-+-" if not index else " '-" if last else " +-"
        head = lead if not index else " " * len(lead)
        yield f"{head} {joint} {name:<{width}} --- {_servers(profile, descriptor)}"


def _name(descriptor: Descriptor) -> str:
    plain = descriptor.origin in ("socket", "unknown")
    return "descriptor" if plain else f"descriptor ({descriptor.origin})"


def _servers(profile: Profile, descriptor: Descriptor) -> str:
    if profile.ended:
        return "(ended)"
    by_listen = profile.lacks("epoll")
    serving = serving_of((descriptor.socket,), by_listen)
    threads = [entry.thread for entry in serving if entry.descriptor is descriptor]
    if not threads:
        return "no one"
    return threads_words(names_of(threads)) + (" (by listen)" if by_listen else "")
