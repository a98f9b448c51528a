"""What a change did where listeners share or swap an address, are given up, or ask for port 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest

from envoyassert.addresses import Address
from envoyassert.naming import ListenerRecord
from envoyassert.predict.effects import Change, Fate, Kind, ListenerChange, Way
from envoyassert.testing import TraceBuilder
from envoyassert.trace import ConnectionAttempt, UpdateResult
from envoyassert.transition.difference import differences
from envoyassert.transition.observed import Observed, ObservedListener
from envoyassert.transition.reading import observed_of
from envoyassert.transition.scenario import Transition
from envoyassert.transition.sides import Place

FIRST, SECOND = "127.0.0.1:15006", "127.0.0.1:15007"
DUPLICATE = "Error adding/updating listener(s) {}: error adding listener: duplicate address"


def at(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address.inet(host, int(port))


def record(name: str, address: str, protocol: Literal["TCP", "UDP"] = "TCP") -> ListenerRecord:
    return ListenerRecord(name, protocol, (at(address),))


def client(address: str, end: str = "", protocol: str = "TCP") -> ConnectionAttempt:
    """One that is answered, or reset."""
    facts: dict[str, Any] = {"ok": True, "first_byte": not end, "end": end or "closed"}
    facts |= {"errno": "ECONNRESET"} if end else {}
    return ConnectionAttempt(protocol, at(address), began_ns=1, ended_ns=2, **facts)


def listening(trace: TraceBuilder, address: Address, chosen: int) -> list[int]:
    """Start a listener as Envoy does: after the first socket at port 0, at the port it was given.

    Args:
        trace: in which.
        address: as configured.
        chosen: the port that the kernel gives, if it is asked.
    """
    if address.port != 0:
        return trace.reuse_port_listener(str(address))
    main, fds = trace.main, [trace.socket(trace.main) for _ in range(trace.workers)]
    given = Address.inet(str(address.host), chosen)
    trace.bind(main, fds[0], str(address))
    trace.call(main, "getsockname", 0, fd=fds[0], address=given)
    for fd in fds[1:]:
        trace.bind(main, fd, str(given))
    for index, fd in enumerate(fds):
        trace.listen(main, fd)
        trace.epoll_add(trace.worker(index), fd)
    return fds


class Run:
    """A run of two workers, up to the change; each test says what happens in it."""

    def __init__(self, *old: ListenerRecord, new: tuple[ListenerRecord, ...]) -> None:
        self.old, self.new = old, new
        self.trace = TraceBuilder(2, listeners=old)
        self.sockets = [
            listening(self.trace, one.addresses[0], 30001 + number)
            for number, one in enumerate(old)
        ]
        self.trace.end_phase("startup", "startup")

    def close(self, number: int) -> None:
        for index, fd in enumerate(self.sockets[number]):
            self.trace.epoll_delete(self.trace.worker(index), fd)
            self.trace.close(self.trace.main, fd)

    def observed(
        self,
        way: Way = Way.PUSH,
        refused: str = "",
        places: tuple[Place, ...] = (),
        asked: Mapping[str, tuple[ConnectionAttempt, ...]] | None = None,
        queued: Mapping[str, tuple[ConnectionAttempt, ...]] | None = None,
    ) -> dict[str, ObservedListener]:
        answer = UpdateResult("nack" if refused else "ack", "2", refused)
        update = {"update": answer} if way is Way.PUSH else {}
        self.trace.end_phase("change", "update_listeners", **update)
        for name, attempts in (asked or {}).items():
            self.trace.end_phase(name, attempts=attempts)
        waiting = TraceBuilder(2, listeners=self.old)
        waiting.end_phase("startup", "startup")
        for name, attempts in (queued or {}).items():
            waiting.end_phase(name, attempts=attempts)
        nothing: Any = None
        change = Transition(way, places, self.old, self.new, nothing, None, ())
        run = self.trace.build()
        seen = observed_of(change, run, waiting.build() if queued else None)
        return {one.name: one for one in seen.listeners}


def numbers(one: ObservedListener) -> tuple[Kind, int, int, int]:
    return one.kind, one.kept, one.closed, one.made


SWAPPED = (record("a", SECOND), record("b", FIRST))
PLACES = (
    Place("a", "TCP", at(FIRST), old=True, new=True),
    Place("b", "TCP", at(SECOND), old=True, new=True),
)


def test_listeners_of_a_refused_swap_have_the_sockets_that_they_had() -> None:
    run = Run(record("a", FIRST), record("b", SECOND), new=SWAPPED)
    asked = {"after_0": (client(FIRST),) * 2, "after_1": (client(SECOND),) * 3}
    words = "\n".join((DUPLICATE.format("a"), "b: error adding listener: duplicate address"))
    seen = run.observed(refused=words, places=PLACES, asked=asked)
    assert [numbers(one) for one in seen.values()] == [(Kind.REFUSED, 2, 0, 0)] * 2
    assert [[place.after.answered for place in one.places] for one in seen.values()] == [[2], [3]]


def test_sockets_of_a_listener_that_is_no_longer_bound_stay_its_own() -> None:
    old = record("a", FIRST)
    seen = Run(old, new=(replace(old, addresses=()),)).observed()
    assert numbers(seen["a"])[1:] == (2, 0, 0)
    assert seen["a"].kind in (Kind.SAME, Kind.IN_PLACE)


def test_listeners_that_a_hot_restart_swaps_make_and_close_no_socket() -> None:
    seen = Run(record("a", FIRST), record("b", SECOND), new=SWAPPED).observed(Way.HOT_RESTART)
    assert [numbers(one) for one in seen.values()] == [(Kind.FULL_KEPT, 2, 0, 0)] * 2


def test_socket_that_another_listener_takes_over_is_none_of_its_former_ones() -> None:
    third = "127.0.0.1:15008"
    new = (record("a", third), record("b", FIRST))
    run = Run(record("a", FIRST), record("b", SECOND), new=new)
    run.trace.reuse_port_listener(third)
    run.close(1)
    places = (*PLACES[:1], Place("b", "TCP", at(SECOND), old=True, new=False))
    queued = {"answered_0": (client(FIRST),), "answered_1": (client(SECOND, "reset"),)}
    seen = run.observed(places=places, queued=queued)
    assert numbers(seen["a"]) == (Kind.FULL_NEW, 2, 0, 2)
    assert numbers(seen["b"]) == (Kind.FULL_NEW, 0, 2, 0)
    assert (seen["a"].queued, seen["b"].queued) == (Fate.KEPT, Fate.RESET)


def test_listener_refused_at_the_address_of_another_has_neither_its_sockets_nor_clients() -> None:
    one = record("a", FIRST)
    run = Run(one, new=(one, record("b", FIRST)))
    asked = {"after_0": (client(FIRST),)}
    seen = run.observed(refused=DUPLICATE.format("b"), places=PLACES[:1], asked=asked)
    assert numbers(seen["a"]) == (Kind.SAME, 2, 0, 0)
    assert numbers(seen["b"]) == (Kind.REFUSED, 0, 0, 0)
    assert not seen["b"].places


def test_clients_of_one_protocol_are_not_those_of_a_listener_of_the_other() -> None:
    tcp, udp = record("a", FIRST), record("u", FIRST, "UDP")
    places = (PLACES[0], Place("u", "UDP", at(FIRST), old=False, new=True))
    run = Run(tcp, new=(tcp, udp))
    asked = {"after_0": (client(FIRST),), "after_1": (client(FIRST, protocol="UDP"),)}
    seen = run.observed(places=places, asked=asked)
    protocols = {name: [place.place.protocol for place in one.places] for name, one in seen.items()}
    assert protocols == {"a": ["TCP"], "u": ["UDP"]}


@pytest.mark.parametrize("way", [Way.PUSH, Way.RESTART])
def test_listener_that_binds_and_cannot_listen_is_given_up(way: Way) -> None:
    one = record("a", FIRST)
    wide = "0.0.0.0:15006"
    run = Run(one, new=(one, record("b", wide)))
    fd = run.trace.socket(run.trace.main)
    run.trace.bind(run.trace.main, fd, wide)
    run.trace.listen(run.trace.main, fd, ret=-98)
    run.trace.close(run.trace.main, fd)
    asked = {"after_0": (client(wide),)}
    places = (Place("b", "TCP", at(wide), old=False, new=True),)
    seen = run.observed(way, places=places, asked=asked)
    assert numbers(seen["b"]) == (Kind.DROPPED, 0, 0, 0)
    # Its clients are answered by the other one.
    model = ListenerChange("b", (), (at(wide),), "TCP", Kind.DROPPED, served=False)
    observed = Observed(way, "1.40.0", (2, 2), (seen["b"],), "ack")
    assert not differences(Change(way, "1.40.0", (2, 2), (model,)), observed)


def zero(*names: str) -> tuple[ListenerRecord, ...]:
    return tuple(record(name, "127.0.0.1:0") for name in names)


@pytest.mark.parametrize("way", list(Way))
def test_port_that_the_kernel_chooses_again_is_new_sockets(way: Way) -> None:
    run = Run(*zero("a", "b"), new=zero("b", "a"))
    listening(run.trace, at("127.0.0.1:0"), 30003)
    run.close(1)
    seen = run.observed(way)
    assert numbers(seen["b"]) == (Kind.FULL_NEW, 0, 2, 2)
    assert (seen["a"].kept, seen["a"].closed, seen["a"].made) == (2, 0, 0)
