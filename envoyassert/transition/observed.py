"""What a change did, as the traces of its runs show it: sockets, clients, workers.

What clients saw they saw themselves: no loss of events matters to it. Of sockets and workers a
trace that is not whole says what was seen, and `Observed.missing` says what it lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from envoyassert.addresses import Address
from envoyassert.predict.effects import Fate, Kind, Way
from envoyassert.transition.clients import Clients, Gap, fate_of
from envoyassert.transition.sides import Place


@dataclass(frozen=True)
class Spread:
    """How connections were spread over the workers.

    Args:
        numbers: of each worker.
        chance: of a spread that is as uneven or more, at most, where each connection goes to any
            worker with the same probability; None where the workers share one queue.
        range: the fewest and the most that chance gives to one worker.
    """

    numbers: tuple[int, ...]
    chance: float | None = None
    range: tuple[int, int] | None = None


@dataclass(frozen=True)
class ObservedPlace:
    """The clients of one address.

    Args:
        place: the address.
        through: those that kept coming through the change.
        held: those whose connections were held across it, when they sent afterwards.
        late: of a push: the same after the drain time.
        queued: those that waited in a queue; None if none did.
        after: those that came afterwards.
        gap: None where none kept coming.
    """

    place: Place
    through: Clients = field(default_factory=Clients)
    held: Clients = field(default_factory=Clients)
    late: Clients = field(default_factory=Clients)
    queued: Clients | None = None
    after: Clients = field(default_factory=Clients)
    gap: Gap | None = None


@dataclass(frozen=True)
class ObservedListener:
    """What happened to one listener.

    Args:
        name: of the listener.
        way: how the change reached Envoy.
        before: its addresses in OLD.
        after: those in NEW.
        kind: what Envoy did with it.
        kept: kernel sockets that were open before and after.
        closed: kernel sockets that were closed.
        made: kernel sockets that were made.
        places: its clients, by address.
        unread: kernel sockets that are open afterwards, and that no worker waits for.
        spread_before, spread_after: None where no connection was accepted.
        words: what Envoy said where it refused it.
        balanced: whether the connections afterwards are as even as `exact_balance` makes them; None
            where NEW does not ask for that.
    """

    name: str
    way: Way
    before: tuple[Address, ...]
    after: tuple[Address, ...]
    kind: Kind
    kept: int = 0
    closed: int = 0
    made: int = 0
    places: tuple[ObservedPlace, ...] = ()
    unread: int = 0
    spread_before: Spread | None = None
    spread_after: Spread | None = None
    words: str = ""
    balanced: bool | None = None

    @property
    def queued(self) -> Fate:
        """What happened to those that waited in queues."""
        clients = sum((p.queued for p in self.places if p.queued), Clients())
        fate = fate_of(clients, clients)
        return Fate.HANDED_OVER if fate is Fate.KEPT and self.way is Way.HOT_RESTART else fate

    @property
    def held(self) -> Fate:
        """What happened to connections that were held."""
        held = sum((one.held for one in self.places), Clients())
        late = sum((one.late for one in self.places), Clients())
        fate = fate_of(held, late if late.tried else held)
        # Envoy ends, and does not wait for them.
        return Fate.RESET if fate is Fate.DRAINED and self.way is Way.RESTART else fate

    @property
    def lost(self) -> int:
        """Requests that were sent and never answered: through the change, and afterwards."""
        sent = sum(one.through.lost + one.after.lost for one in self.places)
        # Who finds a held connection closed sends nothing over it.
        held = (c for one in self.places for c in (one.held, one.late, one.queued) if c)
        return sent + sum(clients.silent for clients in held)

    @property
    def reset(self) -> int:
        """Connections that were reset, whoever's."""
        return sum(
            clients.reset
            for one in self.places
            for clients in (one.through, one.held, one.late, one.queued or Clients(), one.after)
        )

    @property
    def refused(self) -> int:
        """Connections that were refused where OLD and NEW both listen."""
        both = [one for one in self.places if one.place.old and one.place.new]
        return sum(one.through.refused + one.after.refused for one in both)

    @property
    def gone(self) -> int:
        """Connections that were refused where only OLD listens: no loss if that was meant."""
        left = [one for one in self.places if one.place.old and not one.place.new]
        return sum(one.through.refused + one.after.refused for one in left)

    @property
    def unanswered(self) -> bool:
        """Whether NEW has an address where no client is answered afterwards."""
        asked = [one.after for one in self.places if one.place.new and one.after.tried]
        return any(not clients.answered for clients in asked)

    @property
    def loses(self) -> bool:
        """Whether clients lost anything."""
        queued = [one.queued for one in self.places if one.queued]
        waited = any(one.lost or one.refused for one in queued)
        return bool(self.lost or self.reset or self.refused or self.unanswered or waited)


@dataclass(frozen=True)
class Observed:
    """What one way of a change did.

    Args:
        way: how the change reached Envoy.
        version: of Envoy.
        workers: how many workers there were before, and afterwards.
        listeners: by name: those of OLD, then those that only NEW has.
        answer: `ack` or `nack` of a push; `started`, `ended` or `late` of another Envoy; "" if
            there was no answer.
        words: what Envoy said where it did not take the change.
        problem: why the run could not be made as planned, "" if it was.
        missing: what the traces lack, in words; () if they are whole.
        notes: in what the runs differ from the configs.
    """

    way: Way
    version: str
    workers: tuple[int, int]
    listeners: tuple[ObservedListener, ...]
    answer: str
    words: str = ""
    problem: str = ""
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether Envoy did not take all of the change."""
        return self.answer not in ("ack", "started")

    @property
    def loses(self) -> bool:
        """Whether clients lost anything."""
        return any(one.loses for one in self.listeners)
