"""Which descriptors are registered with which epoll, and which threads wait there (epoll(7))."""

from __future__ import annotations

from envoyassert.calls.epoll import EPOLL_WAIT
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.graph.descriptor_tables import DescriptorTables
from envoyassert.graph.model import (
    Call,
    Descriptor,
    Epoll,
    KernelSocket,
    Registration,
    SocketGraph,
    Thread,
    more,
)


class Registrations:
    """Follows registrations from call to call.

    Args:
        graph: receives registrations and contradictions.
        tables: the descriptors of every process.
    """

    def __init__(self, graph: SocketGraph, tables: DescriptorTables) -> None:
        self._graph = graph
        self._tables = tables
        #: Each mask once: there are few.
        self._masks: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._living: dict[tuple[Epoll, KernelSocket, int], Registration] = {}

    def wait(self, event: Event, thread: Thread) -> None:
        """Note that a thread waits."""
        epoll = self._epoll(event, EPOLL_WAIT.of(event)["epfd"])
        if thread not in epoll.waiters:
            epoll.waiters.append(thread)

    def register(self, event: Event, call: Call, held: Descriptor) -> None:
        """Follow an epoll_ctl that succeeded.

        Args:
            event: the call.
            call: the same as a call on the socket.
            held: the descriptor that it is about.
        """
        args = event.args
        epoll = self._epoll(event, args["epfd"])
        # The kernel's key is the open file description and the number, whoever closed and made
        # that number again in the meantime.
        key = (epoll, held.socket, held.fd)
        before = self._living.pop(key, None)
        if before is not None and before.until_ns is None:
            before.until_ns = event.ts_ns
        if args["op"] not in ("EPOLL_CTL_ADD", "EPOLL_CTL_MOD"):
            return
        if event.fault:
            self._graph.inconsistencies.append(Fact("mask_unread"))
        certain = call.certain and self._tables.is_epoll_certain(epoll)
        mask = tuple(args["events"])
        mask = self._masks.setdefault(mask, mask)
        added = Registration(epoll, held, mask, call, event.ts_ns, None, certain)
        self._living[key] = added
        held.registrations = more(held.registrations, added)
        epoll.registrations.append(added)
        self._graph.registrations.append(added)

    def _epoll(self, event: Event, epfd: int) -> Epoll:
        held = self._tables.now[event.pid].get(epfd)
        if type(held) is Epoll:
            return held
        if not self._tables.lossy:
            self._graph.inconsistencies.append(Fact("no_known_epoll", call=event.call, fd=epfd))
        return self._tables.open_epoll(event, epfd)
