"""The picture of a trace's sockets, for a page."""

from __future__ import annotations

from collections.abc import Collection

from envoyassert.graph.cut import cut
from envoyassert.graph.fold import fold
from envoyassert.picture.map_parts import ADMIN
from envoyassert.picture.socket_map import socket_map
from envoyassert.picture.svg import map_svg
from envoyassert.trace import Trace


def draw(trace: Trace, listeners: Collection[str] = (), phase: str = "") -> str:
    """Return the map of a trace's sockets as SVG.

    Args:
        trace: the trace.
        listeners: names of the listeners that are shown; all but the admin endpoint if there are
            none, or that alone where there is nothing else.
        phase: at the end of which phase; "" for the end.
    """
    if phase:
        (named,) = (one for one in trace.phases if one.name == phase)
        trace = cut(trace, named)
    picture = socket_map(trace, fold(trace))
    others = [one.name for one in picture.listeners if one.kind != ADMIN]
    return map_svg(picture, listeners or others or None)
