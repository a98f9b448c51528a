"""Where the files of Unix sockets are: a client reaches a socket by the path of its file alone.

bind(2) makes the file. unlink(2) takes it away, and rename(2) moves it, or puts another one in its
place, while the socket listens on (unix(7)). Any process of the run may do so. Paths are compared
as they were passed: where a directory is a symbolic link, or is named by a descriptor, or a path
begins in a working directory, two paths with the same last part may be one file.
"""

from __future__ import annotations

from posixpath import basename, isabs, normpath

from envoyassert.events import Event
from envoyassert.graph.model import KernelSocket

#: linux/fs.h; linux/fcntl.h.
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100

REMOVED, MOVED, REPLACED = "removed", "moved away", "replaced"


def place_of(path: str) -> str:
    """Return a path in the form in which places are compared: no `.`, no `//`."""
    place = normpath(path)
    return place[1:] if place.startswith("//") else place


class SocketFiles:
    """Follows the files from bind to bind."""

    def __init__(self) -> None:
        self._at: dict[str, KernelSocket] = {}

    def bound(self, event: Event, socket: KernelSocket, path: str) -> None:
        """Note that a socket was bound to a path: its file is there now."""
        place = place_of(path)
        self._lose(place, event, REMOVED)  # or bind() would have found it
        self._at[place] = socket
        socket.file = place

    def apply(self, event: Event) -> None:
        """Follow a call on a path."""
        if not event.ok or event.call not in ("unlink", "unlinkat", "renameat2"):
            return
        if event.args.get("truncated"):
            self._doubt(event, None)
        elif event.call == "renameat2":
            self._rename(event)
        else:
            path = event.args["path"]
            for place in self._places(event, path, event.args.get("dirfd", _AT_FDCWD)):
                self._lose(place, event, REMOVED)

    def _rename(self, event: Event) -> None:
        args = event.args
        old, new = args["path"], args["to"]
        leaving = self._places(event, old, args["dirfds"][0])
        covered = self._places(event, new, args["dirfds"][1])
        moving = [(self._at.pop(place), _moved(place, old, new)) for place in leaving]
        if args["flags"] & _RENAME_EXCHANGE:
            moving += [(self._at.pop(place), _moved(place, new, old)) for place in covered]
        else:
            for place in covered:
                self._lose(place, event, REPLACED)
        for socket, place in moving:
            self._at[place] = socket
            socket.file, socket.file_event, socket.file_change = place, event, MOVED

    def _places(self, event: Event, path: str | None, dirfd: int) -> list[str]:
        """Return the places of files at a path, or below it; note those that may be meant."""
        if path is None:
            self._doubt(event, None)
            return []
        place = place_of(path)
        known = isabs(place) or dirfd == _AT_FDCWD
        found = [at for at in self._at if known and (at == place or at.startswith(place + "/"))]
        if not found:
            self._doubt(event, basename(place))
        return found

    def _lose(self, place: str, event: Event, change: str) -> None:
        socket = self._at.pop(place, None)
        if socket is not None:
            socket.file, socket.file_event, socket.file_change = None, event, change

    def _doubt(self, event: Event, name: str | None) -> None:
        for place, socket in self._at.items():
            if name in (None, basename(place)):
                socket.file_doubt = event


def _moved(place: str, old: str, new: str) -> str:
    """Return where what is at a place, or below, comes to be when a path is renamed."""
    return place_of(new) + place[len(place_of(old)) :]
