"""Pushes, restarts and drains of an Envoy that runs, one after the other, made at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from envoyassert.errors import EnvoyAssertError
from envoyassert.explore.case import (
    OF_OVERLOAD,
    OVERLOAD,
    PRESSURE,
    RELIEF,
    Case,
    Listener,
    Step,
    is_possible,
)
from envoyassert.explore.configs import (
    cases,
    fields,
    listeners,
    places,
    possible,
    takes_one_worker,
    with_own_places,
)
from envoyassert.explore.running import Running
from envoyassert.predict.effects import Kind
from envoyassert.scenario.overload import overload_manager

#: Steps of a sequence, at most, beside overload and relief; and of all kinds.
_MOST_STEPS = 5
MOST_STEPS = _MOST_STEPS + len(OF_OVERLOAD)
_MOST_LISTENERS = 3
#: Values of fields that are turned off, and on; None for a field that is taken away.
_TURNED: Mapping[str, Sequence[Any]] = {
    "bind_to_port": (False, True),
    "enable_mptcp": (False, True),
    "enable_reuse_port": (False, True),
    "freebind": (False, True),
    "tcp_backlog_size": (1, 64),
    "connection_balance_config": (None, {"exact_balance": {}}),
}
_NUMBER = st.integers(0, _MOST_LISTENERS - 1)


class Steps(RuleBasedStateMachine):
    """What a control plane and an operator do."""

    #: Version of the Envoy that is to take it.
    version = ""
    #: Is called with each sequence once it is made.
    look: Callable[[Case], None]

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._running: Running | None = None

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Envoy starts, with listeners that are served."""
        self._case = data.draw(cases(self.version, served=True))
        self._running = Running(self._case, self.version)

    @precondition(lambda self: self._takes_pushes)
    @rule(data=st.data(), number=_NUMBER)
    def change_field(self, data: st.DataObject, number: int) -> None:
        """A field has another value, or is taken away."""
        listener = self._listener(number)
        known = fields(_protocol(listener), number, self.version)
        if known:
            field = data.draw(st.sampled_from([*known]))
            value = data.draw(st.one_of(st.none(), known[field]))
            rest = {key: one for key, one in listener.items() if key != field}
            self._replace(rest if value is None else {**rest, field: value})

    @precondition(lambda self: self._takes_pushes)
    @rule(number=_NUMBER, field=st.sampled_from([*_TURNED]), on=st.booleans())
    def turn(self, number: int, field: str, on: bool) -> None:
        """A field is turned on or off that Envoy heeds when it makes a socket."""
        listener = self._listener(number)
        if field in fields(_protocol(listener), number, self.version):
            rest = {key: one for key, one in listener.items() if key != field}
            value = _TURNED[field][on]
            self._replace(rest if value is None else {**rest, field: value})

    @precondition(lambda self: self._takes_pushes)
    @rule(number=_NUMBER, on=st.booleans())
    def turn_compatibility(self, number: int, on: bool) -> None:
        """A listener on all addresses of IPv6 takes IPv4 clients too, or does not."""
        listener = self._listener(number)
        place = listener.get("address", {}).get("socket_address", {})
        if place.get("address") == "::":
            self._replace({**listener, "address": {"socket_address": {**place, "ipv4_compat": on}}})

    @precondition(lambda self: self._takes_pushes)
    @rule(data=st.data(), number=_NUMBER)
    def change_address(self, data: st.DataObject, number: int) -> None:
        """A listener moves."""
        listener = self._listener(number)
        if "address" in listener:
            place = data.draw(places(_protocol(listener), number))
            self._replace({**listener, "address": place})

    @precondition(lambda self: self._takes_pushes)
    @rule(number=_NUMBER, prefix=st.sampled_from("ab"))
    def replace_whole(self, number: int, prefix: str) -> None:
        """Something changes that has nothing to do with sockets."""
        self._replace({**self._listener(number), "stat_prefix": prefix})

    @precondition(lambda self: self._takes_pushes)
    @rule(number=_NUMBER, name=st.sampled_from("ab"))
    def change_filter_chains(self, number: int, name: str) -> None:
        """Filter chains change alone."""
        listener = self._listener(number)
        chains = listener.get("filter_chains", [])
        if chains:
            self._replace({**listener, "filter_chains": [{**chains[0], "name": name}]})

    @precondition(lambda self: not self._is_stopped)
    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        """There is another listener."""
        there = {one["name"] for one in self._has}
        free = [n for n in range(_MOST_LISTENERS) if f"listener_{n}" not in there]
        if free:
            self._push((*self._has, data.draw(listeners(free[0], self.version))))

    @precondition(lambda self: self._takes_pushes)
    @rule(number=_NUMBER)
    def remove(self, number: int) -> None:
        """A listener is taken away."""
        gone = self._listener(number)
        self._push(tuple(one for one in self._has if one is not gone))

    @precondition(lambda self: self._takes_pushes)
    @rule()
    def push_again(self) -> None:
        """The same is sent once more."""
        self._push(self._has)

    @precondition(lambda self: self._may("drain"))
    @rule()
    def drain_gracefully(self) -> None:
        """Envoy is asked to drain, and to keep its listeners."""
        self._add(Step("drain"))

    @precondition(lambda self: self._may("plain_drain"))
    @rule()
    def drain_at_once(self) -> None:
        """Envoy is asked to close its listeners; only a restart follows."""
        self._add(Step("plain_drain"))

    @precondition(lambda self: self._may("hot_restart"))
    @rule(concurrency=st.integers(1, 4))
    def hot_restart(self, concurrency: int) -> None:
        """The next epoch takes over; once in a sequence, for it takes a second."""
        self._add(Step("hot_restart", concurrency=self._possible(concurrency)))

    @precondition(lambda self: self._may("restart") or self._is_stopped)
    @rule(concurrency=st.integers(1, 4))
    def restart(self, concurrency: int) -> None:
        """Envoy is ended, and another one is started."""
        self._add(Step("restart", concurrency=self._possible(concurrency)))

    @precondition(lambda self: self._may(OVERLOAD))
    @rule()
    def overload(self) -> None:
        """Workers are to accept nothing."""
        if self._case is not None:
            by_file = {"overload_manager": overload_manager(PRESSURE)}
            self._case = replace(self._case, bootstrap={**self._case.bootstrap, **by_file})
            self._add(Step(OVERLOAD))

    @precondition(lambda self: self._takes_pushes)
    @precondition(lambda self: self._is_overloaded or self._may(OVERLOAD))
    @rule(number=_NUMBER, prefix=st.sampled_from("ab"), bypasses=st.booleans())
    def replace_under_overload(self, number: int, prefix: str, bypasses: bool) -> None:
        """Workers start a listener again while they are to accept nothing."""
        if not self._is_overloaded:
            self.overload()
        listener = {**self._listener(number), "stat_prefix": prefix}
        if "address" in listener and bypasses:
            listener["bypass_overload_manager"] = True
        self._replace(listener)

    @precondition(lambda self: self._is_overloaded)
    @rule()
    def relieve(self) -> None:
        """Workers are to accept again."""
        self._add(Step(RELIEF))

    def teardown(self) -> None:
        """Try what was made; what was shut by overload is to be open again at its end."""
        if self._is_overloaded:
            self._add(Step(RELIEF))
        if self._case is not None:
            type(self).look(self._case)

    @property
    def _has(self) -> tuple[Listener, ...]:
        return self._running.has if self._running is not None else ()

    @property
    def _is_stopped(self) -> bool:
        return self._running is None or self._running.is_stopped

    @property
    def _takes_pushes(self) -> bool:
        """Whether there is a listener that can be changed."""
        return bool(self._has) and not self._is_stopped

    @property
    def _is_overloaded(self) -> bool:
        return self._running is not None and self._running.is_overloaded

    def _may(self, kind: str) -> bool:
        """Whether a step may come now that comes once in a sequence."""
        steps = self._case.steps if self._case is not None else ()
        rest = is_possible((*steps, Step(kind)))
        return not self._is_stopped and rest and all(step.kind != kind for step in steps)

    def _possible(self, concurrency: int) -> int:
        return 1 if any(map(takes_one_worker, self._has)) else concurrency

    def _listener(self, number: int) -> Listener:
        return self._has[number % len(self._has)]

    def _replace(self, listener: Listener) -> None:
        mine = possible(listener) if "address" in listener else listener
        name = listener["name"]
        self._push(tuple(mine if one["name"] == name else one for one in self._has))

    def _push(self, after: tuple[Listener, ...]) -> None:
        self._add(Step("push", tuple(with_own_places(after))))

    def _add(self, step: Step) -> None:
        """Add a step, unless the model says that Envoy does not survive it, or not come to it."""
        if self._case is None or not self._has_room(step):
            return
        running = Running(self._case, self.version)
        try:
            for one in (*self._case.steps, step):
                change = running.done(one)
        except EnvoyAssertError:
            return
        kinds = {one.kind for one in change.listeners} if change is not None else set()
        never = step.kind == "hot_restart" and kinds & {Kind.REFUSED, Kind.DROPPED}
        if not never and Kind.ENDS_ENVOY not in kinds:
            self._case = replace(self._case, steps=(*self._case.steps, step))
            self._running = running

    def _has_room(self, step: Step) -> bool:
        """Whether a sequence is not too long yet; overload and relief take no other's place."""
        assert self._case is not None
        counted = [one for one in self._case.steps if one.kind not in OF_OVERLOAD]
        return step.kind in OF_OVERLOAD or len(counted) < _MOST_STEPS


def sequence_of(version: str, look: Callable[[Case], None]) -> type[Steps]:
    """Return a state machine that makes sequences.

    Args:
        version: of the Envoy that is to take them.
        look: is called with each sequence once it is made.
    """
    return type("Steps", (Steps,), {"version": version, "look": staticmethod(look)})


def _protocol(listener: Listener) -> str:
    """Return of which protocol a listener is, as the strategies name them."""
    if "address" not in listener:
        return "INTERNAL"
    if "pipe" in listener["address"]:
        return "UNIX"
    if listener["address"]["socket_address"].get("protocol") != "UDP":
        return "TCP"
    return "QUIC" if "udp_listener_config" in listener else "UDP"
