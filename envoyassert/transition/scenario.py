"""Two configs and a way from one to the other, as the run of a scenario: OLD, clients, the change.

There are two runs. In the first, clients keep coming through the change, and others hold their
connections across it. In the second, an overload manager keeps OLD from accepting, so that clients
are sure to wait in the queues of its sockets when the change is made.

The phases of a run are named here, and read in `observed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envoyassert.naming import ListenerRecord
from envoyassert.predict import effects
from envoyassert.predict.effects import Way
from envoyassert.scenario.listeners import (
    admin_address,
    configured_listeners,
    discovered_listeners,
    proto_field,
    static_listeners,
)
from envoyassert.scenario.overlay import overlay_between
from envoyassert.scenario.overload import MONITOR
from envoyassert.scenario.plan import RunPlan
from envoyassert.scenario.xds import FILE, Xds, discovery_response, with_control_plane
from envoyassert.steps.base import Step
from envoyassert.steps.registry import kind_in
from envoyassert.transition.answering import SENT
from envoyassert.transition.sides import Place, Side, overload_of, places_of, side_of

#: Names of phases; those of clients are followed by the number of their place: `held_0`.
HELD, MEANWHILE, AFTER, LATE = "held", "meanwhile", "after", "late"
QUEUED, QUEUE_ANSWERED = "queued", "answered"
CHANGE, STOP = "change", "stop"
_DRAINED, _RELIEF, _PRESSURE = "drained", "relief", "pressure"

#: What Envoy may take to end the old connections, in seconds; in production this is ten minutes.
#: A push is looked at while old connections drain; a hot restart when the old epoch has ended.
_DRAIN_S = {Way.PUSH: "2", Way.HOT_RESTART: "1", Way.RESTART: "1"}
_PARENT_S = "2"
_TIMES = ("--drain-time-s", "--parent-shutdown-time-s")
#: How long a client waits for its answer; of datagrams less, for they are dropped silently.
_ANSWER_S, _DATAGRAM_S = 2, 0.5
#: Requests of all clients together that keep coming, each second, and the fewest of one place.
_PER_SECOND, _LEAST_PER_SECOND = 400, 20
#: Connections of all places together that are held, or wait; and of one place.
_CONNECTIONS, _MOST, _LEAST = 400, 60, 4
#: Of datagrams: one that is dropped takes all the time that the others have.
_DATAGRAMS = 20


@dataclass(frozen=True)
class Transition:
    """The runs of a change.

    Args:
        way: how the change reaches Envoy.
        places: where clients go, in the order of the numbers of their phases.
        old, new: the listeners, with all addresses, and those without a socket.
        run: with clients that keep coming, and such that hold connections.
        queue: with clients that wait in the queues; None where none can.
        notes: in what the runs differ from the configs, in words.
        configs: OLD and NEW as they are run, for the model.
        balanced: the names of the listeners that NEW asks to balance their connections exactly.
    """

    way: Way
    places: tuple[Place, ...]
    old: tuple[ListenerRecord, ...]
    new: tuple[ListenerRecord, ...]
    run: RunPlan
    queue: RunPlan | None
    notes: tuple[str, ...]
    configs: tuple[effects.Side, effects.Side] | None = None
    balanced: frozenset[str] = frozenset()


def transition_of(old: RunPlan, new: RunPlan, way: Way) -> Transition:
    """Return the runs by which a change is tried.

    Args:
        old: the run of the config that is to be changed.
        new: the run of the other one.
        way: how the change reaches Envoy.
    """
    before, after = side_of(old), side_of(new)
    places = tuple(places_of(before, after))
    calm = _steps(before, after, way, places, queue=False)
    waits = [one for one in places if one.old and one.protocol in ("TCP", "UNIX")]
    overloads = [overload_of(side, pressed) for side, pressed in ((before, True), (after, False))]
    queue = None
    if waits and None not in overloads:
        steps = _steps(before, after, way, places, queue=True, overload=overloads[1])
        queue = _plan(before, after, way, steps, overload=overloads[0])
    notes = [*_notes(before, after, way)]
    if waits and queue is None:
        notes.append(f"no client waits in a queue: the config has {MONITOR} of its own")
    return Transition(
        way,
        places,
        before.records(),
        after.records(),
        _plan(before, after, way, calm),
        queue,
        tuple(notes),
        (_modelled(before), _modelled(after)),
        frozenset(name for name, one in after.listeners.items() if _balances(one)),
    )


def _modelled(side: Side) -> effects.Side:
    """Return one of the two as the model takes it."""
    plan = side.plan
    return effects.Side(side.config(), workers=plan.workers, arguments=plan.args)


def _balances(listener: object) -> bool:
    balance = proto_field(listener, "connection_balance_config")
    return proto_field(balance, "exact_balance") is not None


def _notes(before: Side, after: Side, way: Way) -> Iterator[str]:
    """Yield in what the runs differ from the configs."""
    old, new = before.plan, after.plan
    if before.replaced or after.replaced:
        yield "filters decide nothing about sockets: connections are echoed in their place"
    if before.bypasses or after.bypasses:
        yield "no listener bypasses the overload manager: clients wait in queues by one"
    static = static_listeners(old.config) or static_listeners(new.config)
    if way is Way.PUSH:
        if static:
            yield "static listeners are served by LDS: Envoy takes no update of a static one"
        rest = sorted(key for key in {*before.rest, *after.rest} if _differs(before, after, key))
        if old.concurrency != new.concurrency:
            rest.append("--concurrency")
        if old.args != new.args:
            rest.append("arguments")
        if rest:
            yield f"not pushed, for only a restart changes it: {', '.join(rest)}"
    if way is Way.HOT_RESTART:
        yield f"the old epoch drains for {_DRAIN_S[way]} s and ends after {_PARENT_S} s"
    elif way is Way.PUSH:
        yield f"old connections drain for {_DRAIN_S[way]} s"
    if way is not Way.PUSH and len(old.listeners) and not static:
        yield "listeners of LDS are in the bootstrap of each"
    if old.env != new.env:
        yield "environment variables are those of the old one"
    yield from _notes_of_places(places_of(before, after), way)


def _notes_of_places(places: Iterator[Place], way: Way) -> Iterator[str]:
    """Yield which clients are left out."""
    addresses = [place.address for place in places]
    if way is Way.RESTART and any(address.netns for address in addresses):
        yield "no client keeps coming in another network namespace: between the two it is gone"
    if any(address.port == 0 for address in addresses):
        yield "of port 0 it is not asked who answers after the change: the kernel chose it"


def _differs(before: Side, after: Side, key: str) -> bool:
    return before.rest.get(key) != after.rest.get(key)


def _plan(
    before: Side,
    after: Side,
    way: Way,
    steps: Sequence[Step],
    overload: Mapping[str, Any] | None = None,
) -> RunPlan:
    """Return the run of some steps."""
    old, new = before.plan, after.plan
    files = {**new.files, **old.files}
    files = {k: v for k, v in files.items() if not any(discovered_listeners(v))}
    if overload:
        files |= {"pressure": "1", "calm": "0"}
    config = before.config(overload)
    xds = None
    if way is Way.PUSH:
        served = [*before.listeners.values()]
        xds = Xds.model_validate({"via": "file", "listeners": served})
        config = with_control_plane(before.without_listeners(overload), xds)
        files[FILE] = discovery_response(served)
    return dataclasses.replace(
        old,
        id=f"{old.id} {way.value}",
        matrix={},
        launcher="process",
        config=config,
        files=files,
        args=_arguments(old.args, way),
        agent=(),
        netns={**new.netns, **old.netns},
        addresses=tuple(dict.fromkeys((*old.addresses, *new.addresses))),
        xds=xds,
        expectations=(),
        steps=tuple(steps),
        admin=admin_address(config),
        listeners=configured_listeners(config, files),
        later=after.records() if way is Way.PUSH else (),
    )


def _arguments(given: Sequence[str], way: Way) -> tuple[str, ...]:
    """Return arguments with times in which a change can be waited for."""
    kept: list[str] = []
    skip = False
    for argument in given:
        name, equals, _ = argument.partition("=")
        if not skip and name not in _TIMES:
            kept.append(argument)
        skip = not skip and name in _TIMES and not equals
    return (*kept, _TIMES[0], _DRAIN_S[way], _TIMES[1], _PARENT_S)


def _steps(
    before: Side,
    after: Side,
    way: Way,
    places: Sequence[Place],
    *,
    queue: bool,
    overload: Mapping[str, Any] | None = None,
) -> list[Step]:
    numbered = list(enumerate(places))
    first = [(number, one) for number, one in numbered if one.old]
    if queue:
        first = [(number, one) for number, one in first if one.protocol in ("TCP", "UNIX")]
    share = max(_LEAST, min(_MOST, _CONNECTIONS // max(1, len(first))))
    coming = [one for _, one in first if not (way is Way.RESTART and one.address.netns)]
    load = [] if queue else [_load(one, len(coming)) for one in coming]
    wanted = [*_before(first, share, queue=queue)]
    wanted += _change(before, after, way, load, overload)
    if queue:
        if way is Way.PUSH:
            pressure = {"path": "${rundir}/pressure", "content": "0"}
            wanted.append({"name": _RELIEF, "replace_file": pressure})
        wanted += [_talk(QUEUE_ANSWERED, QUEUED, n, one) for n, one in first]
    else:
        wanted += [_talk(MEANWHILE, HELD, number, one) for number, one in first]
        wanted += [_connect(AFTER, n, one, share) for n, one in numbered if one.address.port != 0]
        if way is Way.PUSH:
            for stat in ("listeners", "filter_chains"):
                name = f"listener_manager.total_{stat}_draining"
                wait = {"stat": {"name": name, "equals": 0}}
                wanted.append({"name": f"{_DRAINED}_{stat}", "wait_for": wait})
            wanted += [_talk(LATE, HELD, number, one) for number, one in first]
    return [_step(data) for data in wanted]


def _before(
    first: Sequence[tuple[int, Place]], share: int, *, queue: bool
) -> Iterator[dict[str, Any]]:
    """Yield what is done before the change."""
    if not queue:
        yield from (_connect(HELD, number, one, share) for number, one in first)
        return
    for number, one in first:
        state = {"listener": one.selector, "served": False}
        yield {"name": f"{_PRESSURE}_{number}", "wait_for": {"state": state}}
    for number, one in first:
        # Nothing is accepted, and so the step lasts until its deadline.
        connect = {"listener": one.selector, "times": share, "held": True}
        yield {"name": f"{QUEUED}_{number}", "connect": connect, "deadline": "300ms"}


def _change(
    before: Side,
    after: Side,
    way: Way,
    load: list[dict[str, Any]],
    overload: Mapping[str, Any] | None,
) -> Iterator[dict[str, Any]]:
    under = {"load": load} if load else {}
    if way is Way.PUSH:
        update = {"set": list(after.listeners.values())}
        yield {"name": CHANGE, "update_listeners": update, **under}
        return
    pressed = overload_of(before, True) if overload else None
    another: dict[str, Any] = {
        "concurrency": after.plan.concurrency,
        "overlay": overlay_between(before.config(pressed), after.config(overload)),
        "args": [*_arguments(after.plan.args, way)] if before.plan.args != after.plan.args else [],
    }
    if way is Way.HOT_RESTART:
        yield {"name": CHANGE, "hot_restart": another, **under}
        return
    yield {"name": STOP, "signal": "SIGTERM", **under}
    yield {"name": CHANGE, "start": another, **under}


def _load(place: Place, places: int) -> dict[str, Any]:
    return {
        "listener": place.selector,
        "send": SENT[place.protocol],
        "clients": 2,
        "per_second": max(_LEAST_PER_SECOND, _PER_SECOND // max(2, places)),
        "answer_within": _answer_s(place),
    }


def _connect(name: str, number: int, place: Place, times: int) -> dict[str, Any]:
    datagrams = place.protocol in ("UDP", "QUIC")
    if datagrams:
        times = min(times, _DATAGRAMS)
    # Held, so that what balances connections has some to balance.
    connect = {"listener": place.selector, "times": times, "send": SENT[place.protocol]}
    # A busy machine may be slow to answer all: of connections that is no loss.
    deadline = {"deadline": _DATAGRAM_S} if name == AFTER and datagrams else {}
    return {"name": f"{name}_{number}", "connect": {**connect, "held": True}, **deadline}


def _talk(name: str, over: str, number: int, place: Place) -> dict[str, Any]:
    talk = {"over": f"{over}_{number}", "send": SENT[place.protocol]}
    return {"name": f"{name}_{number}", "talk": talk, "deadline": _answer_s(place)}


def _answer_s(place: Place) -> float:
    return _ANSWER_S if place.protocol in ("TCP", "UNIX") else _DATAGRAM_S


def _step(data: dict[str, Any]) -> Step:
    kind = kind_in(data)
    assert kind is not None
    return kind.model_validate(data)
