"""The socket table of a whole trace, as far as the state at its end can show it."""

from __future__ import annotations

import re
from typing import Any

from envoyassert.graph.fold import fold
from envoyassert.judge.scopes import certify_phases
from envoyassert.option_read_back import Surroundings, reads_back
from envoyassert.report.state import UNKNOWN_OF_DESCRIPTORS, UNKNOWN_OF_SOCKETS
from envoyassert.report.story import story_of
from envoyassert.trace import Trace

#: What a state shows and a trace does not say.
_MORE = ("inode", "waiting", "effective_backlog", "held_by_others")
#: What is added to a thread's role where a trace is of several Envoys.
_LABEL = re.compile(r"/\d+$")
Table = list[dict[str, Any]]


def table_of(trace: Trace) -> Table:
    """Return the listening sockets as `show` has them."""
    graph = fold(trace)
    listening: Table = story_of(trace, graph, certify_phases(trace, graph))["listening"]
    return listening


def known_in_state(table: Table, pids: set[int]) -> Table:
    """Return the rows of a trace of sockets that these processes have, with what a state shows.

    What it cannot know is None; the options are left out, see `option_faults`.
    """
    rows = []
    for row in table:
        mine = [d for d in row["descriptors"] if d["open"] and d["pid"] in pids]
        if not mine:
            continue
        descriptors = [{**one, **dict.fromkeys(UNKNOWN_OF_DESCRIPTORS)} for one in mine]
        known = {**row, **dict.fromkeys(UNKNOWN_OF_SOCKETS), "descriptors": _ordered(descriptors)}
        known["served_by"] = [_LABEL.sub("", label) for label in row["served_by"]]
        for one in descriptors:
            one["waited_on_by"] = [_LABEL.sub("", label) for label in one["waited_on_by"]]
        rows.append({key: value for key, value in known.items() if key != "options"})
    return _ordered_rows(rows)


def shown_by_state(table: Table) -> Table:
    """Return the rows of a state without what only a state shows, and without options."""
    rows = []
    for row in table:
        descriptors = [
            {key: value for key, value in one.items() if key != "epolls"}
            for one in row["descriptors"]
            if one["open"]
        ]
        left = {key: value for key, value in row.items() if key not in (*_MORE, "options")}
        rows.append({**left, "descriptors": _ordered(descriptors)})
    return _ordered_rows(rows)


def option_faults(state: Table, whole: Table) -> list[str]:
    """Return in words where the options of a state are not what a trace left.

    Each that a state shows was set, and reads as it was set last.
    """
    faults = []
    for row in state:
        numbers = {(one["pid"], one["fd"]) for one in row["descriptors"] if one["open"]}
        (same,) = [
            other
            for other in whole
            if numbers & {(one["pid"], one["fd"]) for one in other["descriptors"] if one["open"]}
        ]
        last = {option["name"]: option for option in same["options"]}
        place = Surroundings(row["protocol"], None, {"net.core.somaxconn": 4096}, frozenset(last))
        for option in row["options"]:
            before = last.get(option["name"])
            if before is None:
                faults.append(f"{row['address']}: {option['name']} was never set")
            elif (
                reads_back(option["level"], option["name"], before["value"], option["value"], place)
                is False
            ):
                faults.append(f"{row['address']}: {option} against {before}")
    return faults


def _ordered(descriptors: Table) -> Table:
    return sorted(descriptors, key=lambda one: (one["pid"], one["fd"]))


def _ordered_rows(rows: Table) -> Table:
    return sorted(rows, key=lambda row: [(d["pid"], d["fd"]) for d in row["descriptors"]])
