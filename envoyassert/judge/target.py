"""The listener under judgement."""

from __future__ import annotations

from dataclasses import dataclass

from envoyassert.addresses import Address
from envoyassert.graph.model import Call, KernelSocket
from envoyassert.guard import guarded
from envoyassert.judge.context import Context, Subject
from envoyassert.judge.shape import Serving, serving_of, shape_of
from envoyassert.judge.values import Fact, fault
from envoyassert.scenario.selector import Selector


@dataclass(frozen=True)
class Target:
    """The listener under judgement: its sockets, and the binds that would have made more.

    `role` is who should serve it, by the scenario; "" if the scenario does not say. `selector` is
    how the scenario names it, and `addresses` are those by the config that are meant, if known.
    """

    context: Context
    subject: Subject
    sockets: tuple[KernelSocket, ...]
    failed: tuple[Call, ...]
    selector: Selector
    addresses: tuple[Address, ...] = ()
    role: str = ""

    def calls(self, name: str) -> list[Call]:
        """Return the successful bind or listen calls that count, in time order."""
        calls = [call for socket in self.sockets for call in getattr(socket, name)]
        counted = [call for call in calls if self.context.in_window(call.event)]
        return sorted(counted, key=lambda call: call.event.ts_ns)

    @property
    def standing(self) -> tuple[KernelSocket, ...]:
        """The sockets that accept connections or datagrams at the end."""
        return tuple(socket for socket in self.sockets if socket.is_open_to_clients)

    @property
    def serving(self) -> list[Serving]:
        """Who serves which of its descriptors at the end."""
        return serving_of(self.sockets, self.context.by_listen)

    @property
    def taking(self) -> list[Call]:
        """The calls by which helpers of Envoy accepted on sockets that they hold at the end.

        Whoever waits in accept(2) itself is in no epoll.
        """
        return [
            call
            for socket in self.standing
            for call in socket.calls
            if call.event.call in ("accept", "accept4")
            and call.event.ok
            and not call.thread.of_envoy
            and call.descriptor is not None
            and call.descriptor.is_open
        ]

    @property
    def shape(self) -> str | Fact:
        """How the listener is served, as far as that has a name; or why that is not computed."""
        return guarded(self._shape, fault)

    def _shape(self) -> str | Fact:
        return shape_of(self.serving, self.standing)
