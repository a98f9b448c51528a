"""What the script of a page reads: every call in columns, small enough for a hundred thousand.

Times are whole microseconds since the call before, texts are places in a list of different texts.
"""

from __future__ import annotations

import base64
import gzip
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from envoyassert.picture.run import RunPicture
from envoyassert.picture.timeline import KINDS, Timeline
from envoyassert.shown import shown

#: Larger data is compressed: all browsers of 2023 and later can unpack it.
_PLAIN_BYTES = 100_000
_FAILED, _OF_LISTENER = 1, 2


def page_data(picture: RunPicture) -> dict[str, Any]:
    """Return what the script reads, as JSON types; every text is shown as text already."""
    line = picture.timeline
    lanes = {lane.id: place for place, lane in enumerate(line.lanes)}
    texts: dict[str, int] = {}
    columns: dict[str, list[int]] = {name: [] for name in ("t", "lane", "kind", "text", "flags")}
    sockets: list[int] = []
    before = 0
    kinds = {kind: place for place, kind in enumerate(KINDS)}
    for mark in line.marks:
        at = _us(line, mark.ts_ns)
        columns["t"].append(at - before)
        before = at
        columns["lane"].append(lanes[mark.lane])
        columns["kind"].append(kinds[mark.kind])
        columns["text"].append(texts.setdefault(shown(mark.text), len(texts)))
        columns["flags"].append(_FAILED * mark.failed + _OF_LISTENER * mark.of_listener)
        sockets.append(int(mark.socket[1:]) if mark.socket else -1)
    return {
        "times": line.has_times,
        "kinds": KINDS,
        "lanes": [
            {
                "label": shown(lane.label),
                "process": shown(lane.process),
                "role": lane.role,
                "calls": lane.calls,
            }
            for lane in line.lanes
        ],
        "bands": [
            {
                "name": shown(band.name),
                "begin": max(_us(line, band.begin_ns), 0) if band.begin_ns else 0,
                "end": _us(line, band.end_ns),
                "failed": band.failed,
            }
            for band in line.bands
        ],
        **columns,
        "socket": sockets,
        "texts": list(texts),
        "arrows": [[arrow.source, arrow.target, int(arrow.socket[1:])] for arrow in line.arrows],
        "clients": [
            [_us(line, one.began_ns), _us(line, one.ended_ns), shown(one.fate), one.ok]
            for one in picture.connections.clients
        ],
        "findings": {one.id: one.calls for one in picture.findings if one.calls},
        "steps": {
            step.kind: [call for part in step.parts for call in part.calls]
            for step in picture.steps
        },
    }


def _us(line: Timeline, ts_ns: int) -> int:
    return (ts_ns - line.start_ns) // 1000 if line.has_times else ts_ns


def data_element(data: dict[str, Any]) -> Markup:
    """Return the element of a page that carries data, which nothing in it can leave.

    Args:
        data: JSON types.
    """
    text = htmlsafe_json_dumps(data, separators=(",", ":"))
    if len(text) <= _PLAIN_BYTES:
        return Markup('<script id="data" type="application/json">{}</script>').format(text)
    packed = base64.b64encode(gzip.compress(str(text).encode(), 9, mtime=0)).decode()
    return Markup('<script id="data" type="application/gzip">{}</script>').format(packed)
