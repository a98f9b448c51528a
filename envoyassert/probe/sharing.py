"""One program for all workers of a session: the first one loads it and gives it to the others.

The machine then pays for one, however many workers there are. Each worker holds all descriptors, so
the program stays while any of them lives, and goes with the last one, whoever was the first.
"""

from __future__ import annotations

import array
import contextlib
import errno
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Sequence

from envoyassert.frozen import frozen
from envoyassert.probe.privileges import give_up_privileges

#: As many as there are rings: EA_READERS of bpf/emit.h.
READERS = 16

#: A worker that waits longer for the first one loads a program of its own: that one compiles.
_DEADLINE_S = 60.0
_PAUSE_S = 0.01
#: SCM_MAX_FD of the kernel (net/scm.h)
_MOST_DESCRIPTORS = 253
_LONGEST = 1 << 16
#: struct ucred of unix(7): pid, uid, gid
_CREDENTIALS = struct.Struct("=3i")


@frozen
class Shared:
    """What a worker needs of a program that is loaded.

    Args:
        groups: descriptors by group and name.
        reader: the number of the worker, from 0: which ring and which slots are its own.
    """

    groups: dict[str, dict[str, int]]
    reader: int


class Offer:
    """Gives a program to the workers that ask for it; made by the one that has to load it.

    Args:
        listener: bound to the name of the session.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._thread: threading.Thread | None = None

    def open(self, groups: dict[str, dict[str, int]]) -> None:
        """Answer whoever waits, and whoever comes, from now on."""
        self._thread = threading.Thread(target=self._answer, args=(groups,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more; who waits is sent away. May be called more than once."""
        with contextlib.suppress(OSError):
            # Ends accept() in the thread.
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()
        self._listener.close()

    def _answer(self, groups: dict[str, dict[str, int]]) -> None:
        # A thread has what the one that starts it has.
        give_up_privileges()
        descriptors = [fd for group in groups.values() for fd in group.values()]
        names = {group: list(members) for group, members in groups.items()}
        with contextlib.suppress(OSError):
            for reader in range(1, READERS):
                while not self._answer_one(names, descriptors, reader):
                    pass
        # There is no ring for a further one.
        self._listener.close()

    def _answer_one(
        self, names: dict[str, list[str]], descriptors: Sequence[int], reader: int
    ) -> bool:
        """Give the program to one worker; False if it was none, or has gone.

        Raises:
            OSError: nothing listens any more.
        """
        asking, _ = self._listener.accept()
        with asking:
            if not _is_own(asking):
                return False
            message = json.dumps({"names": names, "reader": reader}).encode()
            with contextlib.suppress(OSError):
                socket.send_fds(asking, [message], descriptors)
                return True
        return False


def join(session: str) -> Shared | Offer | None:
    """Ask for the program of a session.

    Args:
        session: its name, which no other session has.

    Returns:
        The program; or an offer if this is the first worker, which has to load it; or None if this
        worker has to load one for itself.
    """
    # No file: the name goes with the socket.
    address = f"\0envoyassert-{os.geteuid()}-{session}".encode()
    end = time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            one.bind(address)
            one.listen(READERS)
        except OSError:
            pass  # another worker was first
        else:
            return Offer(one)
        with one:
            one.settimeout(_DEADLINE_S)
            try:
                one.connect(address)
                if not _is_own(one):
                    return None
                found = _received(one)
            except TimeoutError:
                return None
            except OSError as error:
                if error.errno == errno.EMFILE:
                    return None  # loading one for itself says what to do
                found = None
        if found is not None:
            return found
        # The first one is not there yet, or not any more.
        time.sleep(_PAUSE_S)
    return None


def _received(asking: socket.socket) -> Shared | None:
    """Return what the first worker sends, None if it went away.

    Raises:
        OSError: the connection broke, or this process may not open so many files.
    """
    descriptors = array.array("i")
    room = socket.CMSG_LEN(_MOST_DESCRIPTORS * descriptors.itemsize)
    # Not socket.recv_fds(), which forgets its flags (Python 3.11): children would inherit them all.
    message, parts, _, _ = asking.recvmsg(_LONGEST, room, socket.MSG_CMSG_CLOEXEC)
    if not message:
        return None
    for _, _, part in parts:
        descriptors.frombytes(part)
    answer = json.loads(message)
    if len(descriptors) < sum(map(len, answer["names"].values())):
        # The kernel leaves out those that this process may not have any more (unix(7)).
        for fd in descriptors:
            os.close(fd)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    rest = iter(descriptors)
    groups = {
        group: {name: next(rest) for name in members} for group, members in answer["names"].items()
    }
    return Shared(groups, answer["reader"])


def _is_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is this user's."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(peer)
    return bool(user == os.geteuid())
