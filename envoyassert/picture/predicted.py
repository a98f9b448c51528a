"""The map of a start that the model predicts: the same parts as that of a run, less of each.

Descriptors and epolls have no numbers, sockets no order of birth: a model does not know them.
"""

from __future__ import annotations

from envoyassert.calls.shown_values import address_text
from envoyassert.option_values import value_text
from envoyassert.picture.expected import drawn_sockets, drawn_threads
from envoyassert.picture.map_parts import (
    ADMIN,
    SINGLE,
    MapListener,
    MapOption,
    MapSocket,
    Mark,
    SocketMap,
)
from envoyassert.predict.prediction import LISTENERS, PROCESS, Prediction
from envoyassert.predict.sockets import SocketSet


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
