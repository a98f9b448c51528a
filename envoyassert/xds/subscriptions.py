"""The xDS protocol of one stream, without its transport: who asked for what, and what is due.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, in both variants. A resource
that is withheld is not answered at all, so that Envoy keeps waiting for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
