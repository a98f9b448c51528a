"""A case as the text of a scenario: what is done, and what the model predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.draft.expected import EnvoyField
from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.scenario_text import draft_text
from envoyassert.explore.case import Case, Listener, Step
from envoyassert.predict.change import predict_change
from envoyassert.predict.effects import Change, Fate, Kind, ListenerChange, Side, Way
from envoyassert.predict.expectations import expected_of
from envoyassert.predict.prediction import Prediction
from envoyassert.predict.sockets import SocketSet
from envoyassert.predict.start import predict_start
from envoyassert.scenario.option_value import ANY_VALUE

NAME = "explored"
_SOURCE = "a config made at random"
#: So that a hot restart takes a second.
_BRIEF = ["--drain-time-s", "1", "--parent-shutdown-time-s", "1"]

Item = dict[str, Any]


def scenario_text(case: Case, version: str = "") -> str:
    """Return the text of a scenario that holds a case against its prediction.

    Args:
        case: what is done.
        version: of Envoy, for what the model says of steps.
    """
    served = list(case.listeners) if case.served else None
    predicted = draft_of_config(case.config, case.concurrency, served)
    if any(step.kind == "hot_restart" for step in case.steps):
        args = EnvoyField("args", _BRIEF, "a hot restart takes a second")
        predicted = replace(predicted, envoy=(*predicted.envoy, args))
    text = draft_text(predicted, NAME, case.config, _SOURCE)
    if not case.steps:
        return text
    text = text.replace("  - no_others: true ", "  - {no_others: true, at_end_of: startup} ")
    steps, items = _followed(case, version)
    lines = [f"  - {json.dumps(item)}" for item in items]
    lines += ["steps:", *(f"  - {json.dumps(step)}" for step in steps)]
    return "\n".join([text.rstrip("\n"), *lines]) + "\n"


def _followed(case: Case, version: str) -> tuple[list[Item], list[Item]]:
    """Return the steps of a case as a scenario has them, and what is expected of them."""
    steps: list[Item] = []
    items: list[Item] = []
    state = _State(case, version)
    for number, step in enumerate(case.steps, 1):
        phase = f"{step.kind}_{number}"
        steps += state.done(step, phase)
        items += state.expected(step, phase)
    return steps, items


class _State:
    """What an Envoy has after each step, as the model says.

    Args:
        case: what is done.
        version: of Envoy.
    """

    def __init__(self, case: Case, version: str) -> None:
        self._case = case
        self._version = version
        self._served: tuple[Listener, ...] = case.listeners
        #: What Envoy has, without what it refused.
        self._has: tuple[Listener, ...] = case.listeners
        self._workers = case.concurrency
        self._envoy = ""
        #: Listeners whose sockets are not their first, and those of which too little is known.
        self._replaced: set[str] = set()
        self._open: set[str] = set()
        #: Those of which something is to be closed when a drain is over.
        self._draining: set[str] = set()
        #: What the model of change says of pushes that a fresh start would not do.
        self.foreseen: list[str] = []

    def done(self, step: Step, phase: str) -> Iterator[Item]:
        """Yield a step as a scenario has it."""
        if step.listeners is not None:
            yield {"name": phase, "update_listeners": {"set": list(step.listeners)}}
        elif step.kind == "hot_restart":
            workers = {} if step.concurrency is None else {"concurrency": step.concurrency}
            yield {"name": phase, "hot_restart": workers}
        else:
            yield {"name": phase, "drain": {"graceful": True, "skip_exit": True}}

    def expected(self, step: Step, phase: str) -> Iterator[Item]:
        """Yield what is expected at the end of a step, and take note of what Envoy has then."""
        if step.listeners is not None:
            yield from self._pushed(step.listeners, phase)
        elif step.kind == "hot_restart":
            yield from self._restarted(step.concurrency or self._workers, phase)
        yield from self._at_end_of(phase)

    def _side(self, listeners: Sequence[Listener], workers: int) -> Side:
        return Side(self._case.bootstrap, tuple(listeners), workers)

    def _pushed(self, after: tuple[Listener, ...], phase: str) -> Iterator[Item]:
        change = pushed(self._case, self._has, after, self._workers, self._version)
        refused = any(one.kind is Kind.REFUSED for one in change.listeners)
        yield {"update": {"result": "nack" if refused else "ack"}, "at_end_of": phase}
        had = {one["name"]: one for one in self._has}
        by_name = {one.name: one for one in change.listeners}
        has: list[Listener] = []
        for listener in after:
            found = by_name[listener["name"]]
            if found.kind is Kind.REFUSED:
                has += [had[found.name]] if found.name in had else []
            elif found.kind is not Kind.DROPPED:
                has.append(listener)
        for one in change.listeners:
            if one.kind is Kind.UNKNOWN or one.unknown.keys() & {"kind", "made", "closed"}:
                self._open.add(one.name)
            if one.made:
                self._replaced.add(one.name)
            if one.left:
                self._draining.add(one.name)
            self.foreseen += _foreseen(one)
            # No name selects the sockets of one that binds none, or did not.
            forms = [form for form in (*self._has, *after) if form["name"] == one.name]
            binds = all(form.get("bind_to_port") is not False for form in forms)
            if one.protocol and binds and one.name not in self._open:
                yield from self._made(one, phase)
        idle = {one.name for one in change.listeners if "connection balance" in _idle(one)}
        yield from self._idle_descriptors(idle, tuple(has), phase)
        self._served, self._has = after, tuple(has)

    def _made(self, one: ListenerChange, phase: str) -> Iterator[Item]:
        about = {"listener": {"name": one.name}, "take": "total"}
        if one.made:
            yield {**about, "during": phase, "bound": {"times": one.made}}
        if one.kind is Kind.REMOVED:
            yield {**about, "at_end_of": phase, "sockets": {"live": one.left}}

    def _idle_descriptors(
        self, names: set[str], has: Sequence[Listener], phase: str
    ) -> Iterator[Item]:
        """Yield that listeners have the descriptors of a start: others are in no epoll."""
        sets = [one for one in self._start(has).sets if one.name in names]
        for one in expected_of(sets):
            if "descriptors" in one.item:
                about: Item = {
                    key: one.item[key] for key in ("listener", "take") if key in one.item
                }
                yield {**about, "at_end_of": phase, "descriptors": one.item["descriptors"]}

    def _restarted(self, workers: int, phase: str) -> Iterator[Item]:
        old, new = self._side(self._has, self._workers), self._side(self._served, workers)
        change = predict_change(old, new, Way.HOT_RESTART, version=self._version)
        yield {"process": {"exits": 0}, "envoy": self._envoy or "first", "at_end_of": phase}
        self._envoy, self._workers = phase, workers
        self._open.clear()
        self._draining.clear()
        self._replaced = {one.name for one in change.listeners if one.kept}
        self._has = self._served
        for one in change.listeners:
            if one.kind in (Kind.UNKNOWN, Kind.REFUSED, Kind.DROPPED) or one.unknown:
                self._open.add(one.name)
            elif one.kept + one.made:
                yield {
                    "listener": {"name": one.name},
                    "take": "total",
                    "envoy": phase,
                    "at_end_of": phase,
                    "origin": {"created": one.made or "none", "inherited": one.kept or "none"},
                }

    def _at_end_of(self, phase: str) -> Iterator[Item]:
        """Yield what is there at the end of a step: what a start with the same listeners has."""
        found = self._start(self._has)
        envoy = {"envoy": self._envoy} if self._envoy else {}
        for one in expected_of(found.sets):
            if self._open & set(one.listeners) or "bound" not in one.item:
                continue
            about: Item = {key: one.item[key] for key in ("listener", "take") if key in one.item}
            first = not self._replaced & set(one.listeners)
            said = dict(_lasting(one.item, with_options=first and not self._envoy))
            if self._draining & set(one.listeners):
                del said["sockets"]
            yield {**about, **envoy, "at_end_of": phase, **said}
        for one in expected_of(self._unbound()):
            if "bound" in one.item and not self._open & set(one.listeners):
                none = {"listener": one.item["listener"], "sockets": {"live": "none"}}
                yield {**none, **envoy, "at_end_of": phase}

    def _unbound(self) -> Sequence[SocketSet]:
        """Return the sockets that listeners have not, since they are to bind none."""
        forms = [one for one in self._has if one.get("bind_to_port") is False]
        bound = [{**one, "bind_to_port": True} for one in forms if "pipe" not in one["address"]]
        others = self._start(self._has).sets
        places = {(one.address, one.protocol) for one in others}
        return [
            one
            for one in self._start(bound).sets
            if one.name != "admin" and (one.address, one.protocol) not in places
        ]

    def _start(self, listeners: Sequence[Listener]) -> Prediction:
        return predict_start(
            self._case.bootstrap,
            concurrency=self._workers,
            version=self._version,
            discovered=listeners,
        )


def _lasting(item: Item, *, with_options: bool) -> Iterator[tuple[str, Any]]:
    """Yield what of an expectation of the start holds as long as Envoy has the listener."""
    if "served_by" in item:
        yield "served_by", item["served_by"]
        return
    yield "sockets", {"live": item["bound"]["times"]}
    listened = item.get("listened", {})
    if item["listener"].get("protocol") == "UDP":
        # What a push replaced drains, and its descriptors are served beside the new ones.
        listened = {key: value for key, value in listened.items() if key != "via"}
    if listened:
        yield "listened", listened
    if "backlog" in item:
        yield "backlog", item["backlog"]
    if with_options and "only_options" in item:
        # The last value is the one that counts.
        last: Item = {}
        for values in item["only_options"].values():
            last.update({name: v[-1] if isinstance(v, list) else v for name, v in values.items()})
        rules = {
            name: "set" if value == ANY_VALUE else {"value": value} for name, value in last.items()
        }
        if rules:
            yield "options", rules


def _foreseen(one: ListenerChange) -> Iterator[str]:
    """Yield what the model of change says that the config alone does not."""
    yield from (f"acknowledged, and not in effect: {words}" for words in _idle(one))
    if one.queued in (Fate.RESET, Fate.SOME_RESET) and one.kind is Kind.FULL_NEW:
        yield "sockets are replaced: what waits in their queues is reset"
    if one.queued is Fate.UNSERVED:
        yield "sockets listen, and no worker accepts"


def _idle(one: ListenerChange) -> list[str]:
    """Return what of a listener Envoy acknowledges and does not do, in words."""
    if one.kind not in (Kind.IN_PLACE, Kind.FULL_KEPT):
        return []
    found = {reason.why for reason in one.reasons if reason.in_effect is False}
    return sorted(why.value.replace("_", " ") for why in found)


def foreseen(case: Case, version: str) -> list[str]:
    """Return what the model of change says of the pushes of a case that a fresh start would not do.

    Args:
        case: what is done.
        version: of Envoy.
    """
    state = _State(case, version)
    for number, step in enumerate(case.steps):
        for _ in state.expected(step, f"step_{number}"):
            pass
    return state.foreseen


def pushed(
    case: Case,
    before: Sequence[Listener],
    after: Sequence[Listener],
    workers: int,
    version: str,
) -> Change:
    """Return what the model says of a push.

    Args:
        case: whose bootstrap it is.
        before: the listeners that Envoy has.
        after: those that it is given.
        workers: how many it has.
        version: of Envoy.
    """
    old, new = (Side(case.bootstrap, tuple(side), workers) for side in (before, after))
    return predict_change(old, new, Way.PUSH, version=version)
