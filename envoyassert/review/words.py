"""What a change does, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from envoyassert.addresses import Address
from envoyassert.predict.effects import (
    Change,
    Fate,
    Gap,
    Kind,
    ListenerChange,
    OtherChange,
    Reason,
    Topic,
    Way,
    Why,
)
from envoyassert.predict.overload import BYPASS

WAYS = {Way.PUSH: "push", Way.HOT_RESTART: "hot restart", Way.RESTART: "restart"}
#: What Envoy does where a field of a listener is absent (the documentation of Envoy's listener).
DEFAULTS = {"enable_reuse_port": "true", "bind_to_port": "true"}
NEW_SOCKETS = "forces new sockets: queued connections are reset"
GAP = (
    "no one reads datagrams from the drain to the end of the old epoch (--parent-shutdown-time-s, "
    "15 minutes by default); Envoy 1.40 loses none"
)
SHUT_BY_OVERLOAD = (
    "if stop_accepting_connections is active at that time, no worker accepts afterwards, though "
    "the listener bypasses it, until it is replaced without overload"
)
NEW_SOCKETS_OF_UDP = "forces new sockets: queued datagrams are lost"
#: The rows of a listener in which facts are, by their names in `ListenerChange`.
_ROW_OF = {
    "kind": 0,
    "kept": 1,
    "closed": 1,
    "made": 1,
    "queued": 2,
    "held": 3,
    "gap": 2,
    "served": 6,
}
#: The rows of a listener, and what they are called where it is one for datagrams.
ROWS = (
    ("what happens", "what happens"),
    ("kernel sockets", "kernel sockets"),
    ("requests lost", "datagrams lost"),
    ("connections reset", "sessions ended"),
    ("accept queue", "receive queue"),
    ("a connection wakes", "a datagram wakes"),
    ("served afterwards", "served afterwards"),
)

CHANGE, REPLACE, ADD, REMOVE, REFUSE, SAME = "~", "-/+", "+", "-", "!", " "
SYMBOLS = {
    Kind.SAME: SAME,
    Kind.ADDED: ADD,
    Kind.REMOVED: REMOVE,
    Kind.IN_PLACE: CHANGE,
    Kind.FULL_KEPT: CHANGE,
    Kind.FULL_NEW: REPLACE,
    Kind.REFUSED: REFUSE,
    Kind.DROPPED: REFUSE,
    Kind.ENDS_ENVOY: REFUSE,
    Kind.UNKNOWN: "?",
}
#: The worst first.
_RANK = (REFUSE, "?", REPLACE, REMOVE, ADD, CHANGE, SAME)
_NOT_KNOWN = "not known"


def symbol_of(changes: Sequence[tuple[Change, ListenerChange]]) -> str:
    """Return the symbol of a listener, of several ways that of the worst.

    A restart replaces every listener, so it says something where it is the only way.
    """
    found = {
        CHANGE if change.way is Way.RESTART and one.kind is Kind.FULL_NEW else SYMBOLS[one.kind]
        for change, one in changes
        if change.touches(one)
    }
    return next((symbol for symbol in _RANK if symbol in found), SAME)


def kind_words(change: Change, one: ListenerChange) -> str:
    """Return what happens to a listener."""
    if one.kind is Kind.FULL_KEPT and change.way is Way.HOT_RESTART:
        return "sockets handed over" if one.kept else "replaced"
    if one.kind is Kind.FULL_NEW and not one.made:
        return "on the sockets of another" if one.queue else "replaced, without sockets"
    if one.kind is Kind.REFUSED and change.way is Way.HOT_RESTART:
        return "the next epoch does not start" if one.before or not one.words else "refused"
    if one.kind is Kind.ENDS_ENVOY and change.way is Way.RESTART:
        return "Envoy does not start"
    if one.kind is Kind.ADDED and one.kept:
        return "added, on the sockets of another"
    return {
        Kind.SAME: "nothing",
        Kind.ADDED: "added",
        Kind.REMOVED: "removed",
        Kind.IN_PLACE: "updated in place",
        Kind.FULL_KEPT: "sockets kept",
        Kind.FULL_NEW: "new sockets",
        Kind.REFUSED: "refused",
        Kind.DROPPED: "accepted, then given up",
        Kind.ENDS_ENVOY: "Envoy crashes",
        Kind.UNKNOWN: _NOT_KNOWN,
    }[one.kind]


def sockets_words(one: ListenerChange) -> str:
    """Return `1 kept, 1 closed`, or `none`."""
    if {"kept", "closed", "kind"} & set(one.unknown):
        return _NOT_KNOWN
    counts = {"kept": one.kept, "closed": one.closed, "left open": one.left, "made": one.made}
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "none"


def lost_words(one: ListenerChange) -> str:
    """Return which requests are lost: of clients that wait in accept queues, or come meanwhile."""
    if one.gap is Gap.PARENT_SHUTDOWN:
        return "all until the old epoch ends"
    if one.gap is Gap.UNKNOWN:
        return _NOT_KNOWN
    if one.left and one.queued is not Fate.UNKNOWN:
        return f"those that reach {_sockets(one.left)} left open"
    return {
        Fate.NONE: "none",
        Fate.KEPT: "none",
        Fate.HANDED_OVER: "none",
        Fate.DRAINED: "none",
        Fate.RESET: f"those waiting in {_queues(one, one.closed)}",
        Fate.SOME_RESET: f"those waiting in {one.closed} of {_queues(one, one.closed + one.kept)}",
        Fate.UNSERVED: "all: no worker accepts",
        Fate.UNKNOWN: _NOT_KNOWN,
    }[one.queued]


def _queues(one: ListenerChange, number: int) -> str:
    title = ROWS[4][one.protocol == "UDP"]
    return f"1 {title}" if number == 1 else f"{number} {title}s"


def _sockets(number: int) -> str:
    return "1 socket" if number == 1 else f"{number} sockets"


def reset_words(one: ListenerChange) -> str:
    """Return which connections are closed that workers hold."""
    return {
        Fate.NONE: "none",
        Fate.KEPT: "none",
        Fate.HANDED_OVER: "none",
        Fate.DRAINED: "none until drained",
        Fate.RESET: "all",
        Fate.SOME_RESET: "some",
        Fate.UNSERVED: "all",
        Fate.UNKNOWN: _NOT_KNOWN,
    }[one.held]


def queue_words(queue: str, workers: int) -> str:
    """Return how workers get connections."""
    if not queue:
        return "none"
    if workers == 1:
        return "one, of the only worker"
    return "one per worker" if queue == "reuse_port" else "one for all workers"


def woken(one: ListenerChange, workers: int) -> int:
    """Return how many workers a connection wakes at most: all that wait for the same socket."""
    return 0 if not one.queue else 1 if one.queue == "reuse_port" else workers


def wake_words(one: ListenerChange, workers: int) -> str:
    """Return how many workers a connection wakes."""
    number = woken(one, workers)
    return "none" if not number else "1 worker" if number == 1 else f"up to {number} workers"


def served_words(change: Change, one: ListenerChange) -> str:
    """Return whether clients are served afterwards, at the addresses that it had too."""
    if one.served is None or "kind" in one.unknown:
        return _NOT_KNOWN
    gone = len(change.gone(one))
    if not one.after:
        return "no: it has no socket" if gone or not one.before else "by another listener"
    if not one.served:
        return "no"
    if not gone:
        return "yes"
    return "yes, not at the old address" if gone == 1 else f"yes, not at {gone} old addresses"


def unknown_words(one: ListenerChange) -> list[str]:
    """Return what is not known of a listener, each fact by the row that it is in."""
    datagrams = one.protocol == "UDP"
    rows = {fact: ROWS[row][datagrams] for fact, row in _ROW_OF.items()}
    return [f"{rows.get(fact, fact)}: {why}" for fact, why in one.unknown.items()]


def effect_words(change: Change, one: ListenerChange, reason: Reason) -> str:
    """Return what a difference leads to by one way, "" for nothing that needs to be said."""
    if reason.refused:
        return "refused"
    if reason.forces_new and change.way is Way.PUSH:
        return NEW_SOCKETS_OF_UDP if one.protocol == "UDP" else NEW_SOCKETS
    if reason.forces_new:
        return "new sockets"
    if reason.in_effect is None:
        return f"in effect with Envoy {reason.versions}" if reason.versions else _NOT_KNOWN
    return "" if reason.in_effect else "without effect"


def whole_effect(change: Change, one: ListenerChange, reason: Reason) -> str:
    """Return what a difference leads to by one way, that it is in effect too."""
    words = effect_words(change, one, reason)
    kinds = (Kind.IN_PLACE, Kind.FULL_KEPT, Kind.FULL_NEW)
    if not words:
        words = "in effect" if one.kind in kinds else kind_words(change, one)
    lost = "datagrams are lost" if one.protocol == "UDP" else "all connections are reset"
    is_lost = change.way is Way.RESTART and Fate.RESET in (one.held, one.queued)
    return f"{words}; {lost}" if is_lost and lost not in words else words


def reason_words(change: Change, one: ListenerChange, reason: Reason) -> str:
    """Return why a difference is acknowledged and has no effect, in a sentence; "" if it has."""
    if reason.in_effect is not False or one.kind in (Kind.REFUSED, Kind.DROPPED):
        return ""
    if reason.field == BYPASS:
        return "without effect: under overload no worker reads datagrams, whatever it says"
    if reason.why is Why.BALANCE and change.way is Way.PUSH:
        return (
            "acknowledged, and without effect: main calls dup() on every socket, and no worker "
            "serves these descriptors; connections go to workers as before"
        )
    if reason.why is Why.BIND_TO_PORT and one.is_unserved and not one.kept:
        return "acknowledged, and without effect: no socket is made, and clients are refused"
    if reason.why is Why.BIND_TO_PORT and not one.is_unserved:
        return "acknowledged, and without effect: the sockets are as they were"
    if reason.why is Why.BIND_TO_PORT and one.kept:
        return (
            "acknowledged: the sockets listen and no worker accepts, so that clients connect and "
            "get no answer"
        )
    if reason.why is Why.BACKLOG:
        return "acknowledged, and without effect before Envoy 1.40: the old backlog stays"
    if reason.why is Why.REUSE_PORT and change.way is Way.HOT_RESTART:
        return "without effect: the next epoch gets the one socket that there is, with its queue"
    if one.kind is Kind.IN_PLACE and one.made:
        return f"acknowledged, and without effect: {_sockets(one.made)} are bound, and not served"
    if change.way is Way.HOT_RESTART:
        return "without effect on the sockets that are handed over"
    return "acknowledged, and without effect on the sockets that are kept"


def dropped_words(change: Change, one: ListenerChange) -> str:
    """Return what it means that a listener is given up when it begins to listen."""
    if change.way is Way.PUSH:
        gone = "gone, old and new" if one.before else "not there"
        return f"acknowledged, and yet the listener is {gone}"
    if change.way is Way.RESTART:
        return "Envoy is up and ready without this listener"
    alone = "the next epoch is up and ready without this listener"
    if not change.is_undrained:
        return alone
    return f"{alone}; it never has the one before drain, which serves on"


def other_words(change: Change, other: OtherChange) -> str:
    """Return what a difference outside of listeners leads to."""
    if other.kind is Kind.REFUSED and other.topic is Topic.HOT_RESTART_NAME:
        return "the next epoch does not find the one before, and aborts"
    if not other.applied:
        return "not applied" + (": it is read at a start alone" if change.way is Way.PUSH else "")
    if other.topic is Topic.ADMIN and change.way is Way.HOT_RESTART:
        return "applied: the admin endpoint is not handed over, it is bound again"
    return "applied"


def fewer_words(change: Change) -> str:
    """Return what a hot restart with fewer workers loses, "" if there are not fewer."""
    before, after = change.workers
    if change.way is not Way.HOT_RESTART or after >= before:
        return ""
    gone = sum(one.closed for one in change.listeners if one.queued is Fate.SOME_RESET)
    if not gone:
        return "no socket is lost: all workers share it"
    return (
        f"no worker of the next epoch inherits {_sockets(gone)}: the one before closes them, and "
        "connections that wait in their queues are reset"
    )


def value_text(value: Any) -> str:
    """Return a value of a config as text, `absent` for none."""
    if value is None:
        return "absent"
    if isinstance(value, dict) and not value:
        return "{}"
    if isinstance(value, dict) and value.keys() == {"count"}:
        return f"{value['count']} {'entry' if value['count'] == 1 else 'entries'}"
    return value if isinstance(value, str) else json.dumps(value)


def places_text(one: ListenerChange) -> str:
    """Return the addresses of a listener, before and after where they differ."""
    before, after = (_places(places) for places in (one.before, one.after))
    if not before or not after or before == after:
        return after or before or "no socket"
    return f"{before} -> {after}"


def _places(places: Sequence[Address]) -> str:
    return ", ".join(map(str, places))
