"""A run in the Trace Event Format, which Perfetto's UI opens: threads as tracks, calls as slices.

Source: "Trace Event Format" of the Chromium project; what Perfetto takes of it is in its
documentation ("Chrome JSON format"), and in its importer of JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoyassert.picture.run import RunPicture
from envoyassert.picture.timeline import CallMark, Lane, Timeline
from envoyassert.shown import json_text, shown

#: What is known of a call is when it returned: it is drawn from there on, for so many ns at most.
_LONG_NS = 1000

_Event = dict[str, Any]


def perfetto_json(picture: RunPicture) -> str:
    """Return a run as JSON.

    Times are microseconds since the first call, or the places of calls where a trace has no times.

    Args:
        picture: the run.
    """
    return json_text(
        {
            "traceEvents": list(_events(picture)),
            "displayTimeUnit": "ns",
            "otherData": {
                "run": shown(picture.title),
                "verdict": "" if picture.status is None else picture.status.value,
                "headline": shown(picture.headline),
                "certificate": shown(picture.certificate_line),
                "times": "of the return of each call; a call is drawn 1 µs long at most"
                if picture.timeline.has_times
                else "none: each call is drawn a microsecond after the one before",
                **{name: shown(value) for name, value in picture.facts},
            },
        },
        indent=None,
    )


def _events(picture: RunPicture) -> Iterator[_Event]:
    line = picture.timeline
    ids = _Ids(line)
    times = [mark.ts_ns for mark in line.marks]
    start = min([line.start_ns, *times])
    yield from _names(line, ids)
    found = [*_calls(line, ids), *_flows(line, ids), *_phases(line, ids, start)]
    found += _held(picture, ids)
    # A flow binds to the slice that began before it on its track: the order of the file counts.
    for ts_ns, event in sorted(found, key=lambda pair: pair[0]):
        yield {"ts": (ts_ns - start) / 1000, **event}


class _Ids:
    """Numbers of processes and threads, as the kernel had them, by the ids of lanes."""

    def __init__(self, line: Timeline) -> None:
        self._process: dict[str, int] = {}
        of_process: dict[str, int] = {}
        for lane in line.lanes:
            if lane.role == "main" or lane.process not in of_process:
                of_process[lane.process] = self.thread(lane.id)
        for lane in line.lanes:
            self._process[lane.id] = of_process[lane.process]
        #: A process that there is not, for the phases.
        self.phases = max([0, *map(self.thread, self._process)]) + 1

    @staticmethod
    def thread(lane: str) -> int:
        return int(lane[1:])

    def of(self, lane: str) -> _Event:
        return {"pid": self._process.get(lane, self.thread(lane)), "tid": self.thread(lane)}


def _names(line: Timeline, ids: _Ids) -> Iterator[_Event]:
    """Yield what processes and threads are called, and in which order they stand."""
    yield _name(ids.phases, ids.phases, "process_name", name="phases of the run")
    yield _name(ids.phases, ids.phases, "process_sort_index", sort_index=-1)
    yield _name(ids.phases, ids.phases, "thread_name", name="phases")
    seen: set[int] = set()
    for place, lane in enumerate(line.lanes):
        pid, tid = ids.of(lane.id)["pid"], ids.thread(lane.id)
        if pid not in seen:
            seen.add(pid)
            yield _name(pid, pid, "process_name", name=shown(lane.process) or "Envoy")
        yield _name(pid, tid, "thread_name", name=_lane_name(lane))
        yield _name(pid, tid, "thread_sort_index", sort_index=place)


def _lane_name(lane: Lane) -> str:
    return shown(lane.label)


def _name(pid: int, tid: int, what: str, **args: Any) -> _Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": what, "args": args}


def _calls(line: Timeline, ids: _Ids) -> Iterator[tuple[int, _Event]]:
    """Yield each call as a slice that ends before the next one on its thread begins."""
    following: dict[str, int] = {}
    long: dict[int, int] = {}
    for mark in reversed(line.marks):
        room = following.get(mark.lane, mark.ts_ns + _LONG_NS) - mark.ts_ns
        long[mark.index] = max(0, min(_LONG_NS, room))
        following[mark.lane] = mark.ts_ns
    for mark in line.marks:
        args = {"call": shown(mark.text), "event": mark.index, "failed": mark.failed}
        if mark.socket:
            args["socket"] = f"#{mark.socket[1:]}"
        yield (
            mark.ts_ns,
            {
                "ph": "X",
                **ids.of(mark.lane),
                "name": _call_name(mark),
                "cat": f"{mark.kind},failed" if mark.failed else mark.kind,
                "dur": long[mark.index] / 1000,
                "args": args,
            },
        )


def _call_name(mark: CallMark) -> str:
    return shown(mark.text.partition("(")[0])


def _flows(line: Timeline, ids: _Ids) -> Iterator[tuple[int, _Event]]:
    """Yield an arrow from each call on a socket to what it leads to."""
    marks = {mark.index: mark for mark in line.marks}
    for number, arrow in enumerate(line.arrows, 1):
        flow = {"name": "leads to", "cat": "socket", "id": number}
        source, target = marks[arrow.source], marks[arrow.target]
        yield source.ts_ns, {"ph": "s", **ids.of(source.lane), **flow}
        yield target.ts_ns, {"ph": "f", "bp": "e", **ids.of(target.lane), **flow}


def _phases(line: Timeline, ids: _Ids, start: int) -> Iterator[tuple[int, _Event]]:
    for band in line.bands:
        begin, until = max(band.begin_ns, start), max(band.end_ns, start)
        args = {"kind": band.kind, "result": shown(band.words), "failed": band.failed}
        event = {"ph": "X", "pid": ids.phases, "tid": ids.phases, "cat": "phase", "args": args}
        yield begin, {**event, "name": shown(band.name), "dur": max(0, until - begin) / 1000}


def _held(picture: RunPicture, ids: _Ids) -> Iterator[tuple[int, _Event]]:
    """Yield how many connections each thread held, as counters."""
    for held in picture.connections.held:
        pid = ids.of(held.thread)["pid"]
        name = shown(f"connections of {held.label}")
        for ts_ns, number in held.changes:
            yield ts_ns, {"ph": "C", "pid": pid, "name": name, "args": {"held": number}}
