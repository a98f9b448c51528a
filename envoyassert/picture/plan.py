"""A change before it is made: what starts of both configs make, and what each way moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envoyassert.judge.verdict import Status
from envoyassert.picture.map_parts import MapListener, SocketMap
from envoyassert.picture.pair import PairPicture
from envoyassert.picture.predicted import predicted_map
from envoyassert.predict.effects import ListenerChange
from envoyassert.predict.prediction import Prediction
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
