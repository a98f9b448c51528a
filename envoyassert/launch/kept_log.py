"""A log of any size as text of a bounded one: its beginning and its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker.models.containers import Container

#: How Envoy's start went is at the beginning, why it ended at the end.
HEAD_BYTES = 1 << 18
TAIL_BYTES = 1 << 20
#: Of a container's long log these are asked for, and of them as much is kept as of any.
_LAST_LINES = 5000


def kept_log(size: int, read: Callable[[int, int], bytes]) -> str:
    """Return a log whole, or its first and last lines with what was left out between them.

    Args:
        size: of the log in bytes.
        read: returns so many bytes from an offset on, or fewer at its end: (bytes, offset).
    """
    if size <= HEAD_BYTES + TAIL_BYTES:
        return read(size, 0).decode("utf-8", "replace")
    return kept_text(read(HEAD_BYTES, 0), read(TAIL_BYTES, size - TAIL_BYTES), size)


def kept_log_of(container: Container) -> str:
    """Return a container's log, of a long one the beginning and the end."""
    head = b""
    with contextlib.closing(container.logs(stream=True, follow=False)) as pieces:
        for piece in pieces:
            head += piece
            if len(head) > HEAD_BYTES + TAIL_BYTES:
                break
        else:
            return head.decode("utf-8", "replace")
    last = b""
    with contextlib.closing(container.logs(stream=True, follow=False, tail=_LAST_LINES)) as pieces:
        for piece in pieces:
            last = (last + piece)[-TAIL_BYTES:]
    return kept_text(head[:HEAD_BYTES], last)


def kept_text(head: bytes, tail: bytes, size: int | None = None) -> str:
    """Return the beginning and the end of a log, each in whole lines where it has any.

    Args:
        head: the beginning.
        tail: the end.
        size: of the whole log in bytes; None if that is not known.
    """
    head = head[: head.rfind(b"\n") + 1] or head
    tail = tail[tail.find(b"\n") + 1 :] or tail
    left = "the middle" if size is None else f"{size - len(head) - len(tail):,} bytes"
    word = f"[envoyassert: {left} of the log left out here]\n"
    start = head.decode("utf-8", "replace")
    return f"{start}{'' if start.endswith(chr(10)) else chr(10)}{word}" + tail.decode(
        "utf-8", "replace"
    )


def log_since(before: str, now: str) -> str:
    """Return what a log has gained, as much of it as is kept.

    Args:
        before: the log as it was.
        now: as it is.
    """
    if now.startswith(before):
        return now[len(before) :]
    # Its middle is left out by now: the new lines follow on the last one of before.
    last = before[before.rstrip("\n").rfind("\n") + 1 :]
    return now.rpartition(last)[2] if last else now
