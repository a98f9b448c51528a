"""Descriptors on their way from one process to another (SCM_RIGHTS, unix(7)).

A message is paired with its receipt by order and by how many descriptors it carries. Where that is
not enough to know which socket arrived, that is reported, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter

from envoyassert.calls import with_effect
from envoyassert.calls.row import Effect
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.graph.model import KernelSocket, more
from envoyassert.graph.passes import Pass

_SENDS = with_effect(Effect.SEND)
_MESSAGES = with_effect(Effect.SEND, Effect.RECEIVE)


def sent_first(events: Sequence[Event]) -> Sequence[Event]:
    """Return the events with each message before its receipt.

    A call is recorded when it returns, and what is sent may arrive before the sender returns. A
    receipt without a message is paired with the first one that returns later, if its thread made no
    recorded call in between: it was in that call when the message arrived. Any other stays where it
    is, and the receipt without a known origin.
    """
    if _MESSAGES.isdisjoint(map(attrgetter("call"), events)):
        return events
    waiting: Counter[int] = Counter()
    early: list[tuple[Event, Event]] = []
    moved: set[int] = set()
    for index, event in enumerate(events):
        if event.call not in _MESSAGES or not event.ok or id(event) in moved:
            continue
        count = len(event.args["fds"])
        if not count:
            continue
        if event.call in _SENDS:
            waiting[count] += 1
        elif waiting[count]:
            waiting[count] -= 1
        elif (sender := _in_the_call(islice(events, index + 1, None), count, moved)) is not None:
            moved.add(id(sender))
            early.append((sender, event))
    if not early:
        return events
    senders = {id(receipt): sender for sender, receipt in early}
    ordered: list[Event] = []
    for event in events:
        if id(event) in senders:
            ordered.append(senders[id(event)])
        if id(event) not in moved:
            ordered.append(event)
    return ordered


def _in_the_call(later: Iterable[Event], count: int, moved: set[int]) -> Event | None:
    """Return the first message of so many descriptors whose thread did nothing before it."""
    active = set()
    for event in later:
        sends = event.call in _SENDS and event.ok and id(event) not in moved
        if sends and len(event.args["fds"]) == count:
            return None if event.tid in active else event
        active.add(event.tid)
    return None


class Messages:
    """What was sent and not yet received.

    Args:
        problems: contradictions and doubts are added here.
    """

    def __init__(self, problems: list[Fact]) -> None:
        self._problems = problems
        self._sent: list[tuple[Event, list[KernelSocket | None]]] = []
        self._unsent: set[int] = set()

    def send(self, event: Event, sockets: list[KernelSocket | None]) -> None:
        """Note a message that was sent; None stands for what is no known socket."""
        self._see_whole(event)
        if len(sockets) in self._unsent:
            # The receiver may return before the sender does.
            self._problems.append(Fact("received_before_sent"))
        self._sent.append((event, sockets))

    def receive(self, event: Event) -> list[KernelSocket | None] | None:
        """Return what a message brought; None if no one was seen to send one of its size."""
        self._see_whole(event)
        count = len(event.args["fds"])
        if not count:
            return []
        fitting = [message for message in self._sent if len(message[1]) == count]
        if not fitting:
            self._unsent.add(count)
            return None
        message = fitting[0]
        sender, found = message
        self._sent.remove(message)
        if any(other != found for _, other in fitting):
            self._problems.append(Fact("several_on_their_way"))
        _pass(found, Pass(sender, event))
        return found

    def _see_whole(self, event: Event) -> None:
        if event.args.get("truncated"):
            self._problems.append(Fact("more_passed_than_recorded", call=event.call))

    def finish(self) -> None:
        """Note what was sent and not seen to be received."""
        for sender, sockets in self._sent:
            _pass(sockets, Pass(sender, None))


def _pass(sockets: Sequence[KernelSocket | None], handed: Pass) -> None:
    for socket in sockets:
        if socket is not None:
            socket.passes = more(socket.passes, handed)
