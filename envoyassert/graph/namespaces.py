"""Which network namespace each thread is in, and with it each socket that the thread makes.

A socket stays in the namespace in which it was made, wherever its thread goes afterwards
(network_namespaces(7)). Envoy goes into the namespace of a listener's `network_namespace_filepath`,
makes and binds the socket there, and goes back (Envoy, source/common/network/utility.cc,
`execInNetworkNamespace`). Namespaces are named by the file that they were entered by; the one in
which the program began is "".
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

from envoyassert.events import Event
from envoyassert.names import CLONE_NEWNET

#: Whoever opens this has the namespace that it is in.
_ITS_OWN = "/proc/thread-self/ns/net"
#: This is the namespace that the first thread of the process is in, whichever thread opens it
#: (proc(5)). Envoy's workers came back by it up to 1.36.
_THE_PROCESS_S = "/proc/self/ns/net"


class _Stay(NamedTuple):
    """A stretch of a thread's time in one namespace.

    Args:
        called_ns: the thread's call before the one that brought it here.
        left_ns: the thread was still in the namespace before at this time.
        since_ns: the thread was in this one by this time.
        name: the namespace.
    """

    called_ns: int
    left_ns: int
    since_ns: int
    name: str


_BEGINNING = _Stay(0, 0, 0, "")


class Namespaces:
    """Follows the threads of a run from namespace to namespace."""

    def __init__(self) -> None:
        self.entered: list[Event] = []
        self._stays: dict[int, list[_Stay]] = {}
        #: When the last event of each thread went by: its next call began later.
        self.seen_ns: dict[int, int] = {}
        self._renumbered: dict[tuple[int, int], int] = {}
        self._renumbered_any: dict[int, int] = {}
        #: When threads opened the namespace of the first thread of their process, by the process.
        self._borrowed_ns: dict[int, list[int]] = defaultdict(list)

    def of(self, tid: int) -> str:
        """Return the namespace that a thread is in now."""
        return self._stays.get(tid, [_BEGINNING])[-1].name

    def fork(self, event: Event) -> None:
        """Put a new thread or process where its maker is."""
        # Also where that is its own: the number may have been that of a thread that has ended.
        born = _Stay(event.ts_ns, event.ts_ns, event.ts_ns, self.of(event.tid))
        self._stays[event.args["child_tid"]] = [born]

    def renumber(self, event: Event, fd: int | None = None) -> None:
        """Note that a descriptor is no longer what open(2) made it; all of a process for None."""
        if fd is None:
            self._renumbered_any[event.pid] = event.ts_ns
        else:
            self._renumbered[event.pid, fd] = event.ts_ns

    def move(self, event: Event) -> bool:
        """Follow a setns or unshare; return whether it is known where the threads are now."""
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
        # It began after the thread's call before, and after its file was opened.
        called_ns = self.seen_ns.get(event.tid, 0)
        left_ns = max(called_ns, event.ts_ns - args["age_ns"])
        stays = self._stays.setdefault(event.tid, [_BEGINNING])
        overtaken = (
            event.tid == event.pid
            and name != stays[-1].name
            and any(opened_ns >= left_ns for opened_ns in self._borrowed_ns[event.pid])
        )
        stays.append(_Stay(called_ns, left_ns, event.ts_ns, name))
        return not overtaken

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
            before = [s.name for s in self._stays.get(event.tid, ()) if s.since_ns <= opened_ns]
            return before[-1] if before else ""
        if path == _THE_PROCESS_S:
            return self._of_first_thread(event, opened_ns)
        # What it stands for depends on who opened it: here, on another thread's way.
        return None if path.startswith(("/proc/self/", "/proc/thread-self/")) else str(path)

    def _of_first_thread(self, event: Event, opened_ns: int) -> str | None:
        """Return where the first thread was while another one opened its namespace.

        None if it may have been on its way then. The open ended at `opened_ns`; it began after
        whatever the other thread had done before.
        """
        self._borrowed_ns[event.pid].append(opened_ns)
        moves = self._stays.get(event.tid, ())
        called_ns = [stay.called_ns for stay in moves if stay.since_ns > opened_ns][:1]
        called_ns = called_ns or [self.seen_ns.get(event.tid, 0)]
        began_ns = called_ns[0] if called_ns[0] <= opened_ns else 0
        stays = self._stays.get(event.pid, [_BEGINNING])
        ends_ns = [after.since_ns for _, after in pairwise(stays)] + [event.ts_ns]
        names = {
            stay.name
            for stay, end_ns in zip(stays, ends_ns, strict=True)
            if stay.left_ns <= opened_ns and end_ns >= began_ns
        }
        return names.pop() if len(names) == 1 else None
