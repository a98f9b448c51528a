"""A case as the text of a scenario: what is done, and what the model predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from envoyassert.draft.expected import EnvoyField
from envoyassert.draft.from_config import draft_of_config
from envoyassert.draft.scenario_text import draft_text
from envoyassert.explore.case import OF_OVERLOAD, OVERLOAD, PRESSURE, Case, Listener, Step
from envoyassert.explore.running import Running
from envoyassert.predict.effects import Change, Fate, Kind, ListenerChange, Way, Why
from envoyassert.predict.expectations import expected_of
from envoyassert.predict.overload import goes_on_under_overload
from envoyassert.predict.push import stays_open
from envoyassert.predict.sockets import SocketSet
from envoyassert.scenario.option_value import ANY_VALUE
from envoyassert.scenario.overload import IS_ACTIVE

NAME = "explored"
_SOURCE = "a config made at random"
#: So that a hot restart takes a second.
_BRIEF = ["--drain-time-s", "1", "--parent-shutdown-time-s", "1"]
#: The file of pressure in the run directory, and what is in it.
_PRESSURE = PRESSURE.rpartition("/")[2]
_CALM, _PRESSED = "0", "1"
#: What an Envoy may take until it rests after a push.
_REST = "5s"

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
    if "overload_manager" in case.bootstrap:
        files = EnvoyField("files", {_PRESSURE: _CALM}, "what the overload manager goes by")
        predicted = replace(predicted, envoy=(*predicted.envoy, files))
    text = draft_text(predicted, NAME, case.config, _SOURCE)
    items: list[Item] = []
    steps: list[Item] = []
    state = _State(case, version)
    if case.served and state.refuses_some:
        items.append({"update": {"result": "nack"}})
    if case.steps:
        text = text.replace("  - no_others: true ", "  - {no_others: true, at_end_of: startup} ")
    for number, step in enumerate(case.steps, 1):
        phase = f"{step.kind}_{number}"
        steps += state.done(step, phase)
        items += state.expected(step, phase)
    lines = [f"  - {json.dumps(item)}" for item in items]
    lines += ["steps:", *(f"  - {json.dumps(step)}" for step in steps)] if steps else []
    return "\n".join([text.rstrip("\n"), *lines]) + "\n"


class _State:
    """What is expected of an Envoy after each step.

    Args:
        case: what is done.
        version: of Envoy.
    """

    def __init__(self, case: Case, version: str) -> None:
        self._running = Running(case, version)
        self._envoy = ""
        #: Listeners whose sockets are not their first, and those of which too little is known.
        self._replaced: set[str] = set()
        self._inherited: set[str] = set()
        self._open = self._unknown_at_start()
        #: Those of which something is to be closed when a drain is over.
        self._draining: set[str] = set()
        #: What the model of change says of pushes that a fresh start would not do.
        self.foreseen: list[str] = []

    @property
    def refuses_some(self) -> bool:
        """Whether Envoy refuses some of the listeners that it is started with."""
        return bool(self._running.started.left_out)

    @property
    def _of_envoy(self) -> Item:
        """What says which of several Envoys is meant."""
        return {"envoy": self._envoy} if self._envoy else {}

    def _unknown_at_start(self) -> set[str]:
        return {one.listener for one in self._running.started.unknown}

    def done(self, step: Step, phase: str) -> Iterator[Item]:
        """Yield a step as a scenario has it, before it is done."""
        workers = {} if step.concurrency is None else {"concurrency": step.concurrency}
        if step.listeners is not None:
            update = {"update_listeners": {"set": list(step.listeners)}}
            yield {"name": phase, **update, "deadline": _REST}
        elif step.kind == "hot_restart":
            yield {"name": phase, "hot_restart": workers}
        elif step.kind == "restart":
            yield {"name": f"{phase}_end", "signal": "SIGTERM"}
            yield {"name": phase, "start": workers}
        elif step.kind in OF_OVERLOAD:
            yield from self._overloaded(step.kind == OVERLOAD, phase)
        elif step.kind == "drain":
            yield {"name": phase, "drain": {"graceful": True, "skip_exit": True}}
        else:
            yield {"name": phase, "drain": {}}
            for number, (item, left) in enumerate(self._stopped()):
                if not left:
                    state = {"listener": item["listener"], "bound": False}
                    yield {"name": f"{phase}_{number}", "wait_for": {"state": state}}

    def expected(self, step: Step, phase: str) -> Iterator[Item]:
        """Do a step, and yield what is expected at its end."""
        if step.kind == "plain_drain":
            yield from self._when_stopped(phase)
            return
        if step.kind in OF_OVERLOAD:
            *_, last = self._overloaded(step.kind == OVERLOAD, phase)
            self._running.done(step)
            yield from self._at_end_of(last["name"])
            return
        before = self._running.has
        if step.kind == "restart":
            ended = {"envoy": self._envoy or "first", "at_end_of": f"{phase}_end"}
            yield {"process": {"exits": 0}, **ended}
        change = self._running.done(step)
        if step.kind == "restart":
            yield from self._started_again(phase)
            return
        if change is not None and change.way is Way.PUSH:
            yield from self._pushed(change, before, step.listeners or (), phase)
        elif change is not None:
            yield from self._restarted(change, phase)
        yield from self._at_end_of(phase)

    def _pushed(
        self, change: Change, had: Sequence[Listener], after: Sequence[Listener], phase: str
    ) -> Iterator[Item]:
        refused = [one for one in change.listeners if one.kind is Kind.REFUSED]
        # Envoy says where its run directory is.
        words = refused[0].words.partition("${")[0] if refused else ""
        says = {"message_contains": words} if words else {}
        result = {"result": "nack" if refused else "ack", **says}
        yield {"update": result, "at_end_of": phase}
        for one in change.listeners:
            if one.kind is Kind.UNKNOWN or one.unknown.keys() & {"kind", "made", "closed"}:
                self._open.add(one.name)
            if one.made:
                self._replaced.add(one.name)
            drained = one.name in self._draining
            if one.left:
                self._draining.add(one.name)
            self.foreseen += _foreseen(one)
            # No name selects the sockets of one that binds none, or did not.
            forms = [form for form in (*had, *after) if form["name"] == one.name]
            binds = all(form.get("bind_to_port") is not False for form in forms)
            # What an earlier form of it has left open is of the same name.
            if one.protocol and binds and not drained and one.name not in self._open:
                yield from self._made(one, phase)
        idle = {one.name for one in change.listeners if "connection balance" in _idle(one)}
        yield from self._idle_descriptors(idle, phase)

    def _made(self, one: ListenerChange, phase: str) -> Iterator[Item]:
        about = {"listener": {"name": one.name}, "take": "total", **self._of_envoy}
        if one.made:
            yield {**about, "during": phase, "bound": {"times": one.made}}
        if one.kind is Kind.REMOVED:
            yield {**about, "at_end_of": phase, "sockets": {"live": one.left}}

    def _idle_descriptors(self, names: set[str], phase: str) -> Iterator[Item]:
        """Yield that listeners have the descriptors of a start: others are in no epoll."""
        has = self._running.has
        sets = [one for one in self._running.start_of(has).sets if one.name in names]
        for one in expected_of(sets):
            if "descriptors" in one.item:
                said = {"descriptors": one.item["descriptors"]}
                yield {**_about(one.item), **self._of_envoy, "at_end_of": phase, **said}

    def _restarted(self, change: Change, phase: str) -> Iterator[Item]:
        yield {"process": {"exits": 0}, "envoy": self._envoy or "first", "at_end_of": phase}
        self._is_another(phase)
        self._replaced = self._inherited = {one.name for one in change.listeners if one.kept}
        unbound = {one["name"] for one in self._running.has if one.get("bind_to_port") is False}
        for one in change.listeners:
            if one.kind in (Kind.UNKNOWN, Kind.REFUSED, Kind.DROPPED) or one.unknown:
                self._open.add(one.name)
            elif one.kept + one.made and one.name not in unbound:
                yield {
                    "listener": {"name": one.name},
                    "take": "total",
                    "envoy": phase,
                    "at_end_of": phase,
                    "origin": {"created": one.made or "none", "inherited": one.kept or "none"},
                }

    def _is_another(self, phase: str) -> None:
        """Take note that another Envoy is the one that is meant from now on."""
        self._envoy = phase
        self._open, self._draining = set(), set()
        self._replaced, self._inherited = set(), set()

    def _started_again(self, phase: str) -> Iterator[Item]:
        """Yield what is expected of an Envoy that was started when the one before had ended."""
        self._is_another(phase)
        self._open = self._unknown_at_start()
        found = self._running.started
        at = {"envoy": phase, "at_end_of": phase}
        for one in expected_of(found.sets):
            if "bound" in one.item and not self._open & set(one.listeners):
                yield {**one.item, **at}
        # Of the sockets of port 0, the first that asked for the address is the one that is meant.
        if found.closed and all(one.address.port != 0 for one in found.sets):
            yield {"no_others": True, **at}

    def _overloaded(self, is_so: bool, phase: str) -> Iterator[Item]:
        """Yield the steps by which Envoy is overloaded, or is not so any more, and has noticed."""
        path = {"path": PRESSURE, "content": _PRESSED if is_so else _CALM}
        yield {"name": phase, "replace_file": path}
        yield {
            "name": f"{phase}_active",
            "wait_for": {"stat": {"name": IS_ACTIVE, "equals": int(is_so)}},
        }
        served = {"served": False} if is_so else {"served": True, "by": "workers"}
        for number, item in enumerate(self._paused()):
            state = {"listener": item["listener"], **served}
            yield {"name": f"{phase}_{number}", "wait_for": {"state": state}}

    def _paused(self) -> Iterator[Item]:
        """Yield what workers wait for, but not while Envoy is overloaded."""
        for one in self._running.listeners.active.values():
            sets = [sockets for sockets in one.sets if sockets.descriptors]
            asked = one.name not in self._open | self._draining
            if one.binds and asked and not goes_on_under_overload(one.config):
                for found in expected_of([each for each in sets if each.role == "workers"]):
                    if "bound" in found.item:
                        yield found.item

    def _stopped(self) -> Iterator[tuple[Item, bool]]:
        """Yield what is bound, and whether that stays so when all listeners are stopped."""
        for one in self._running.listeners.active.values():
            sets = [sockets for sockets in one.sets if sockets.descriptors]
            # Sockets of a form before that drains are at the same addresses.
            if one.binds and one.name not in self._open | self._draining:
                for found in expected_of(sets):
                    if "bound" in found.item:
                        yield found.item, stays_open(one, self._running.version)

    def _when_stopped(self, phase: str) -> Iterator[Item]:
        """Yield what is left when all listeners are stopped, and stop them."""
        stopped = [*self._stopped()]
        waited = [n for n, (_, left) in enumerate(stopped) if not left]
        last = f"{phase}_{waited[-1]}" if waited else phase
        for item, left in stopped:
            live = item["bound"]["times"] if left else "none"
            yield {**_about(item), **self._of_envoy, "at_end_of": last, "sockets": {"live": live}}
        self._running.done(Step("plain_drain"))

    def _at_end_of(self, phase: str) -> Iterator[Item]:
        """Yield what is there at the end of a step: what a start with the same listeners has."""
        found = self._running.start_of(self._running.has)
        for one in expected_of(found.sets):
            names = set(one.listeners)
            if self._open & names or "bound" not in one.item:
                continue
            first = not self._replaced & names
            said = dict(_lasting(one.item, with_options=first and not self._envoy))
            if self._draining & names:
                said.pop("sockets", None)
            elif self._inherited & names and "sockets" in said and "take" not in one.item:
                # Those of port 0, which are taken together, are handed over in no case.
                said["sockets"] = {"live": self._live(one.item["listener"])}
            if self._inherited & names and self._running.workers == 1 and "listened" in said:
                # One socket that one worker has is of either kind, whatever the config is now.
                said["listened"].pop("via", None)
            if self._running.is_overloaded:
                said = self._under_overload(said, names)
            if said:
                yield {**_about(one.item), **self._of_envoy, "at_end_of": phase, **said}
        for one in expected_of(self._unbound()):
            if "bound" in one.item and not self._open & set(one.listeners):
                none = {"listener": one.item["listener"], "sockets": {"live": "none"}}
                yield {**none, **self._of_envoy, "at_end_of": phase}

    def _under_overload(self, said: Item, names: set[str]) -> Item:
        """Return what is said of the sockets of listeners, for as long as Envoy is overloaded."""
        mine = [one for one in self._running.has if one["name"] in names]
        paused = [one for one in mine if not goes_on_under_overload(one)]
        if "listened" not in said or not paused:
            return said
        rest = {key: value for key, value in said.items() if key != "listened"}
        # Of what drains, and of several that differ in it, nothing is said.
        is_all = len(paused) == len(names) and not self._draining & names
        return {**rest, "served_by": "none"} if is_all else rest

    def _live(self, selector: Item) -> int:
        """Return how many kernel sockets there are at an address: some may be shared."""
        numbers: set[int] = set()
        for one in self._running.listeners.active.values():
            for sockets, group in zip(one.sets, one.sockets, strict=True):
                if any(found.item.get("listener") == selector for found in expected_of([sockets])):
                    numbers |= set(group)
        return len(numbers)

    def _unbound(self) -> Sequence[SocketSet]:
        """Return the sockets that listeners have not, since they are to bind none."""
        has = self._running.has
        forms = [one for one in has if one.get("bind_to_port") is False]
        bound = [{**one, "bind_to_port": True} for one in forms if "pipe" not in one["address"]]
        others = self._running.start_of(has).sets
        places = {(one.address, one.protocol) for one in others}
        return [
            one
            for one in self._running.start_of(bound).sets
            if one.name != "admin" and (one.address, one.protocol) not in places
        ]


def _about(item: Item) -> Item:
    """Return which sockets an expectation is about."""
    return {key: item[key] for key in ("listener", "take") if key in item}


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
    found = {r.why for r in one.reasons if r.in_effect is False and r.why is not Why.OTHER}
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
