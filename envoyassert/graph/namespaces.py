"""Which network namespace each thread is in, and with it each socket that the thread makes.

A socket stays in the namespace in which it was made, wherever its thread goes afterwards
(network_namespaces(7)). Envoy goes into the namespace of a listener's `network_namespace_filepath`,
makes and binds the socket there, and goes back (Envoy, source/common/network/utility.cc,
`execInNetworkNamespace`). Namespaces are named by the file that they were entered by; the one in
which the program began is "".
"""

from __future__ import annotations

from envoyassert.events import Event
from envoyassert.names import CLONE_NEWNET

#: Whoever opens this has the namespace that it is in.
_ITS_OWN = "/proc/thread-self/ns/net"
#: The same, for the first thread of a process.
_THE_PROCESS_S = "/proc/self/ns/net"


class Namespaces:
    """Follows the threads of a run from namespace to namespace."""

    def __init__(self) -> None:
        self.entered: list[Event] = []
        self._stays: dict[int, list[tuple[int, str]]] = {}
        self._renumbered: dict[tuple[int, int], int] = {}
        self._renumbered_any: dict[int, int] = {}

    def of(self, tid: int) -> str:
        """Return the namespace that a thread is in now."""
        stays = self._stays.get(tid)
        return stays[-1][1] if stays else ""

    def fork(self, event: Event) -> None:
        """Put a new thread or process where its maker is."""
        # Also where that is its own: the number may have been that of a thread that has ended.
        self._stays[event.args["child_tid"]] = [(event.ts_ns, self.of(event.tid))]

    def renumber(self, event: Event, fd: int | None = None) -> None:
        """Note that a descriptor is no longer what open(2) made it; all of a process for None."""
        if fd is None:
            self._renumbered_any[event.pid] = event.ts_ns
        else:
            self._renumbered[event.pid, fd] = event.ts_ns

    def move(self, event: Event) -> bool:
        """Follow a setns or unshare; return whether it is known where the thread is now."""
        args = event.args
        if event.errno is not None:
            return True
        if event.call == "unshare":
            return not args["flags"] & CLONE_NEWNET
        # setns(2) takes 0 for a namespace of any kind.
        if args["nstype"] not in (0, CLONE_NEWNET):
            return True
        self.entered.append(event)
        name = self._name(event)
        if name is None:
            return False
        self._stays.setdefault(event.tid, []).append((event.ts_ns, name))
        return True

    def _name(self, event: Event) -> str | None:
        path, age_ns = event.args.get("path"), event.args.get("age_ns")
        if path is None or age_ns is None or event.args.get("truncated") or path[:1] != "/":
            return None
        opened_ns = event.ts_ns - age_ns
        changed_ns = (
            self._renumbered.get((event.pid, event.args["fd"]), 0),
            self._renumbered_any.get(event.pid, 0),
        )
        if max(changed_ns) > opened_ns:
            return None
        if path == _ITS_OWN or (path == _THE_PROCESS_S and event.tid == event.pid):
            before = [name for since, name in self._stays.get(event.tid, ()) if since <= opened_ns]
            return before[-1] if before else ""
        # What it stands for depends on who opened it: here, on another thread's way.
        return None if path.startswith(("/proc/self/", "/proc/thread-self/")) else str(path)
