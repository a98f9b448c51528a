"""The listener under judgement, and how its sockets reach the threads that serve it.

The ways are dup, reuse_port and shared_fd.
"""

from __future__ import annotations

from envoyassert.addresses import Address
from envoyassert.errors import guarded
from envoyassert.frozen import brief_repr, frozen
from envoyassert.graph.model import Call, Descriptor, KernelSocket, Thread
from envoyassert.judge.context import ONE_WORKER, Context, Subject
from envoyassert.judge.roles import matches_role
from envoyassert.judge.values import Fact, Shape, fault
from envoyassert.scenario.selector import Selector


@frozen
class Serving:
    """A descriptor that a thread serves: registered in its epoll, or listened on by it."""

    thread: Thread
    descriptor: Descriptor
    since: Call
    certain: bool


def serving_of(sockets: tuple[KernelSocket, ...], by_listen: bool) -> list[Serving]:
    """Return who serves which descriptor at the end.

    Args:
        sockets: the listener's sockets.
        by_listen: take the caller of listen() for the server, for a trace without epoll.
    """
    found: list[Serving] = []
    for socket in sockets:
        if by_listen:
            found += [
                Serving(call.thread, call.descriptor, call, call.certain)
                for call in socket.listens
                if call.descriptor is not None
            ]
        elif socket.is_open_to_clients:
            for registration in socket.live_registrations():
                descriptor = registration.descriptor
                certain = registration.certain and descriptor.tainted_ns is None
                found += [
                    Serving(thread, descriptor, registration.added, certain)
                    for thread in registration.wakes
                ]
    return found


def reuse_port_before_bind(socket: KernelSocket) -> bool:
    """Whether the last SO_REUSEPORT set before bind switched it on."""
    values = [
        option.value
        for option in socket.options
        if option.name == "SO_REUSEPORT" and option.phase == "before_bind"
    ]
    # sock_setsockopt() of Linux takes any number but 0 for on.
    return bool(values) and bool(values[-1])


def root_of(descriptor: Descriptor) -> Descriptor:
    """Return the descriptor that one was copied from, by however many copies."""
    while descriptor.source is not None:
        descriptor = descriptor.source
    return descriptor


def shape_of(serving: list[Serving], standing: tuple[KernelSocket, ...] = ()) -> str:
    """Return `dup`, `reuse_port`, `shared_fd`, or "" if it is none of them.

    With one serving thread dup and reuse_port differ by SO_REUSEPORT alone.

    Args:
        serving: who serves which descriptor.
        standing: all sockets of the listener that accept connections at the end; one that no thread
            serves belongs to no shape.
    """
    threads = {entry.thread for entry in serving}
    sockets = {entry.descriptor.socket for entry in serving}
    if not serving or not sockets.issuperset(standing):
        return ""
    descriptors = {entry.descriptor for entry in serving}
    reuse = [reuse_port_before_bind(socket) for socket in sockets]
    one_each = len(serving) == len(threads) == len(descriptors)
    if len(sockets) == len(threads) and one_each and all(reuse):
        return "reuse_port"
    if len(sockets) > 1:
        return ""
    if len(descriptors) == 1 and len(threads) > 1:
        return "shared_fd"
    same_family = len({root_of(descriptor) for descriptor in descriptors}) == 1
    return "dup" if one_each and same_family and not any(reuse) else ""


def shape_value(
    serving: list[Serving], standing: tuple[KernelSocket, ...] = (), workers: int | None = None
) -> Shape:
    """Return what serves a listener, with the number of workers if others serve it than those."""
    sockets = {entry.descriptor.socket for entry in serving}.union(standing)
    return Shape(
        shape_of(serving, standing),
        len(sockets),
        sum(reuse_port_before_bind(socket) for socket in sockets),
        len({entry.descriptor for entry in serving}),
        len({entry.thread for entry in serving}),
        workers,
    )


@frozen
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

    __repr__ = brief_repr

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
            if not call.thread.of_envoy
            and call.event.call in ("accept", "accept4")
            and call.event.ok
            and call.descriptor is not None
            and call.descriptor.is_open
        ]

    @property
    def shape(self) -> str | Fact:
        """How the listener is served, as far as that explains how many sockets there are.

        By one worker of one, that is `one_worker`. By main alone it is nothing: "". Where it cannot
        be computed, it is why.
        """
        return guarded(self._shape, fault)

    def _shape(self) -> str | Fact:
        shape = shape_of(self.serving, self.standing)
        by_worker = any(matches_role(entry.thread, "workers") for entry in self.serving)
        if not shape or not by_worker:
            return ""
        return ONE_WORKER if self.context.workers == 1 else shape
