"""A change before it is made: what starts of both configs make, and what each way moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envoyassert.calls.row import address_text
from envoyassert.judge.values import SINGLE
from envoyassert.judge.verdict import Status
from envoyassert.option_values import value_text
from envoyassert.picture.expected import drawn_sockets, drawn_threads
from envoyassert.picture.map_parts import (
    ADMIN,
    MapListener,
    MapOption,
    MapSocket,
    Mark,
    SocketMap,
)
from envoyassert.picture.pair import PairPicture
from envoyassert.predict.effects import ListenerChange
from envoyassert.predict.prediction import LISTENERS, PROCESS, Prediction
from envoyassert.predict.sockets import SocketSet
from envoyassert.review.answer import Answer, Shown


@dataclass(frozen=True)
class PlannedListener:
    """Listeners to which the same happens.

    Args:
        shown: what is said of them.
        before, after: the first of them as a start of each config makes it, per address.
        moves: what each way does to it, in the order of the ways.
    """

    shown: Shown
    before: tuple[MapListener, ...]
    after: tuple[MapListener, ...]
    moves: tuple[ListenerChange | None, ...]


@dataclass(frozen=True)
class PlanPicture:
    """A change before it is made.

    Args:
        names: of the two, the old one first.
        answer: what the model says; None where two traces were compared.
        maps: the sockets that a start of each makes, by the model; None likewise.
        refused: what Envoy says where it does not start with one of them, else "".
        listeners: those that are shown.
        run: what was recorded of the two; None where nothing was run.
        verdict: of the new one by a file of expectations, and its headline; None if there is none.
    """

    names: tuple[str, str]
    answer: Answer | None = None
    maps: tuple[SocketMap, SocketMap] | None = None
    refused: tuple[str, str] = ("", "")
    listeners: tuple[PlannedListener, ...] = ()
    run: PairPicture | None = None
    verdict: tuple[Status, str] | None = None


def plan_picture(
    answer: Answer,
    starts: tuple[Prediction, Prediction],
    run: PairPicture | None = None,
    verdict: tuple[Status, str] | None = None,
) -> PlanPicture:
    """Return a change as it is drawn.

    Args:
        answer: what the model says of it.
        starts: what it says of a start of each config.
        run: what was recorded of the two, None where nothing was run.
        verdict: of the new one, with its headline; None if there is none.
    """
    before, after = predicted_map(starts[0]), predicted_map(starts[1])
    refused = starts[0].refused, starts[1].refused
    names = answer.old, answer.new
    listeners = tuple(_planned(answer, before, after))
    return PlanPicture(names, answer, (before, after), refused, listeners, run, verdict)


def _planned(answer: Answer, before: SocketMap, after: SocketMap) -> Iterator[PlannedListener]:
    changes = [{one.name: one for one in change.listeners} for change in answer.changes]
    for shown in answer.listeners():
        name = shown.names[0][0]
        yield PlannedListener(
            shown,
            _named(name, before),
            _named(name, after),
            tuple(change.get(name) for change in changes),
        )


def _named(name: str, picture: SocketMap) -> tuple[MapListener, ...]:
    return tuple(one for one in picture.listeners if one.name == name)


def predicted_map(prediction: Prediction) -> SocketMap:
    """Return the map of the sockets that a start makes; without any where Envoy does not start.

    Args:
        prediction: what the model says of the start.
    """
    workers = max(1, prediction.concurrency)
    threads = drawn_threads(("main", *(f"worker_{number}" for number in range(workers))))
    unsure = {one.listener for one in prediction.unknown if one.fact in (LISTENERS, PROCESS)}
    listeners = []
    for place, one in enumerate(prediction.sets):
        is_admin = place == 0 and prediction.admin and one.role == "main"
        listeners.append(_listener(f"l{place}", one, workers, is_admin, one.name in unsure))
    return SocketMap(tuple(listeners), threads, {}, "when Envoy has started")


def _listener(
    name: str, one: SocketSet, workers: int, is_admin: bool, is_unsure: bool
) -> MapListener:
    serving = {
        "main": ["t-main"],
        "workers": [f"t-worker_{number}" for number in range(workers)],
        "worker_0": ["t-worker_0"],
    }.get(one.role, [])
    doubt = frozenset({Mark.DOUBT} if is_unsure else ())
    like = MapSocket(
        name.replace("l", "s"),
        None,
        one.protocol,
        address_text(one.address),
        "LISTEN" if one.listens else "BOUND",
        one.backlog,
        options=tuple(
            MapOption(_name(o.level, o.name), value_text(o.value), o.phase) for o in one.options
        ),
        bound_by=(one.bound_by,) if one.bound_by else (),
        listened_by=(one.listen_by,) if one.listens and one.listen_by else (),
        marks=doubt,
    )
    way = SINGLE if one.sockets == len(serving) == 1 and one.via != "reuse_port" else one.via
    return MapListener(
        name,
        one.name,
        ADMIN if is_admin else "static",
        one.protocol,
        address_text(one.address),
        way if serving else "",
        tuple(drawn_sockets(like, one.sockets, way, serving, shared=one.descriptors == 1)),
        workers=workers,
        marks=doubt,
    )


def _name(level: str | int, name: str | int) -> str:
    return name if isinstance(name, str) else f"{level}/{name}"
