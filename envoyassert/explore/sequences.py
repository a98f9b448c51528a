"""Pushes, hot restarts and drains of an Envoy that runs, one after the other, made at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from envoyassert.errors import EnvoyAssertError
from envoyassert.explore.case import Case, Listener, Step
from envoyassert.explore.configs import (
    cases,
    fields,
    listeners,
    places,
    possible,
    takes_one_worker,
    with_own_places,
)
from envoyassert.explore.scenario import pushed
from envoyassert.predict.effects import Kind

#: Steps of a sequence, at most.
MOST_STEPS = 4
_MOST_LISTENERS = 3


class Sequence(RuleBasedStateMachine):
    """What a control plane and an operator do."""

    #: Version of the Envoy that is to take it.
    version = ""
    #: Is called with each sequence once it is made.
    look: Callable[[Case], None]

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._has: tuple[Listener, ...] = ()
        self._workers = 1

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """Envoy starts, with listeners that are served."""
        case = data.draw(cases(self.version, served=True))
        self._case, self._has, self._workers = case, case.listeners, case.concurrency

    @rule(data=st.data(), number=st.integers(0, _MOST_LISTENERS - 1))
    def change_field(self, data: st.DataObject, number: int) -> None:
        """A field has another value, or is taken away."""
        listener = self._listener(number)
        if listener is None:
            return
        known = fields(_protocol(listener), number, self.version)
        if not known:
            return
        field = data.draw(st.sampled_from([*known]))
        value = data.draw(st.one_of(st.none(), known[field]))
        rest = {key: one for key, one in listener.items() if key != field}
        self._replace(rest if value is None else {**rest, field: value})

    @rule(data=st.data(), number=st.integers(0, _MOST_LISTENERS - 1))
    def change_address(self, data: st.DataObject, number: int) -> None:
        """A listener moves."""
        listener = self._listener(number)
        if listener is not None and "address" in listener:
            place = data.draw(places(_protocol(listener), number))
            self._replace({**listener, "address": place})

    @rule(number=st.integers(0, _MOST_LISTENERS - 1), prefix=st.sampled_from("ab"))
    def replace_whole(self, number: int, prefix: str) -> None:
        """Something changes that has nothing to do with sockets."""
        listener = self._listener(number)
        if listener is not None:
            self._replace({**listener, "stat_prefix": prefix})

    @rule(number=st.integers(0, _MOST_LISTENERS - 1), name=st.sampled_from("ab"))
    def change_filter_chains(self, number: int, name: str) -> None:
        """Filter chains change alone."""
        listener = self._listener(number)
        chains = [] if listener is None else listener.get("filter_chains", [])
        if listener is not None and chains:
            self._replace({**listener, "filter_chains": [{**chains[0], "name": name}]})

    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        """There is another listener."""
        there = {one["name"] for one in self._has}
        free = [n for n in range(_MOST_LISTENERS) if f"listener_{n}" not in there]
        if free:
            self._push((*self._has, data.draw(listeners(free[0], self.version))))

    @rule(number=st.integers(0, _MOST_LISTENERS - 1))
    def remove(self, number: int) -> None:
        """A listener is taken away."""
        kept = tuple(one for at, one in enumerate(self._has) if at != number)
        if len(kept) < len(self._has):
            self._push(kept)

    @rule()
    def push_again(self) -> None:
        """The same is sent once more."""
        self._push(self._has)

    @rule()
    def drain_gracefully(self) -> None:
        """Envoy is asked to drain, and to keep its listeners."""
        self._add(Step("drain"))

    @rule(concurrency=st.integers(1, 4))
    def hot_restart(self, concurrency: int) -> None:
        """The next epoch takes over; once in a sequence, for it takes a second."""
        case = self._case
        if case is None or any(step.kind == "hot_restart" for step in case.steps):
            return
        if any(map(takes_one_worker, self._has)):
            concurrency = 1
        self._workers = concurrency
        self._add(Step("hot_restart", concurrency=concurrency))

    def teardown(self) -> None:
        """Try what was made."""
        if self._case is not None:
            type(self).look(self._case)

    def _listener(self, number: int) -> Listener | None:
        return self._has[number] if number < len(self._has) else None

    def _replace(self, listener: Listener) -> None:
        mine = possible(listener) if "address" in listener else listener
        name = listener["name"]
        self._push(tuple(mine if one["name"] == name else one for one in self._has))

    def _push(self, after: tuple[Listener, ...]) -> None:
        """Push listeners, unless the model says that Envoy does not survive that."""
        if self._case is None:
            return
        after = tuple(with_own_places(after))
        try:
            change = pushed(self._case, self._has, after, self._workers, self.version)
        except EnvoyAssertError:
            return
        if any(one.kind is Kind.ENDS_ENVOY for one in change.listeners):
            return
        refused = {one.name for one in change.listeners if one.kind is Kind.REFUSED}
        before = {one["name"]: one for one in self._has}
        self._add(Step("push", after))
        kept: list[Any] = [
            before.get(one["name"]) if one["name"] in refused else one for one in after
        ]
        self._has = tuple(one for one in kept if one is not None)

    def _add(self, step: Step) -> None:
        if self._case is not None and len(self._case.steps) < MOST_STEPS:
            self._case = replace(self._case, steps=(*self._case.steps, step))


def sequence_of(version: str, look: Callable[[Case], None]) -> type[Sequence]:
    """Return a state machine that makes sequences.

    Args:
        version: of the Envoy that is to take them.
        look: is called with each sequence once it is made.
    """
    return type("Sequence", (Sequence,), {"version": version, "look": staticmethod(look)})


def _protocol(listener: Listener) -> str:
    """Return of which protocol a listener is, as the strategies name them."""
    if "address" not in listener:
        return "INTERNAL"
    if "pipe" in listener["address"]:
        return "UNIX"
    if listener["address"]["socket_address"].get("protocol") != "UDP":
        return "TCP"
    return "QUIC" if "udp_listener_config" in listener else "UDP"
