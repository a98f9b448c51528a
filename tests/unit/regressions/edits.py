"""Edits of a recorded trace, as data: what makes of a sound Envoy one with a fault.

A step takes one event out, changes one, adds one, or changes how Envoy ended. An event is found by
its call, the thread's role (`by`), the process in order of birth (`process`), its arguments, its
return (`ret`, a number or an error's name), and where several fit by `which` (first, last or an
index); `after` and `before` another event narrow it further.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any

from envoyassert.addresses import Address
from envoyassert.events import Event
from envoyassert.graph.fold import fold
from envoyassert.names import ERRNOS
from envoyassert.trace import CpuCounters, Trace

Pattern = Mapping[str, Any]
_NUMBERS = {name: number for number, name in ERRNOS.items()}


def edited(trace: Trace, steps: list[Mapping[str, Any]]) -> Trace:
    """Return a trace with the steps taken, its records numbered again.

    Args:
        trace: what was recorded.
        steps: each is one of `take_out`, `change`, `add` and `outcome`, with what goes with it.

    Raises:
        LookupError: a step finds nothing to act on.
    """
    editor = _Editor(trace)
    for step in steps:
        if "take_out" in step:
            editor.events.remove(editor.find(step["take_out"]))
        elif "change" in step:
            editor.change(editor.find(step["change"]), step)
        elif "add" in step:
            editor.add(step["add"], editor.find(step["after"]))
        else:
            ended: dict[str, Any] = {
                "live": False,
                "live_after_s": None,
                "live_asked_ns": None,
                "live_ns": None,
            }
            editor.outcome = replace(editor.outcome, **ended, **step["outcome"])
    return editor.trace()


def size(before: Trace, after: Trace) -> int:
    """Return how many events differ; one that is the same call by the same thread counts once."""
    old, new = (Counter(_key(event) for event in trace.events) for trace in (before, after))
    gone, come = list((old - new).elements()), list((new - old).elements())
    changed = Counter(key[:2] for key in gone) & Counter(key[:2] for key in come)
    moved = Counter(key[1:2] for key in gone) & Counter(key[1:2] for key in come)
    same = max(changed.total(), moved.total())
    return len(gone) + len(come) - same + (before.end.outcome != after.end.outcome)


def _key(event: Event) -> tuple[int, str, int, int | None, str]:
    args = json.dumps(event.args, default=str, sort_keys=True)
    return event.tid, event.call, event.ts_ns, event.ret, args


class _Editor:
    """The events of a trace, to be changed."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._graph = fold(trace)
        self._pids = list(self._graph.processes)
        self.events = [copy(event) for event in trace.events]
        self.outcome = trace.end.outcome

    def find(self, pattern: Pattern) -> Event:
        """Return the one event that a pattern means."""
        found = [event for event in self.events if self._fits(event, pattern)]
        if "after" in pattern:
            bound = self.find(pattern["after"]).ts_ns
            found = [event for event in found if event.ts_ns > bound]
        if "before" in pattern:
            bound = self.find(pattern["before"]).ts_ns
            found = [event for event in found if event.ts_ns < bound][-1:]
        which = {"first": 0, "last": -1}.get(pattern.get("which", "first"), pattern.get("which"))
        if not found:
            raise LookupError(f"no event fits {dict(pattern)}")
        return found[which or 0]

    def _fits(self, event: Event, pattern: Pattern) -> bool:
        calls = pattern["call"]
        if event.call not in ([calls] if isinstance(calls, str) else calls):
            return False
        if "by" in pattern and self._graph.threads[event.tid].role != pattern["by"]:
            return False
        if event.pid != self._pids[pattern.get("process", self._pids.index(event.pid))]:
            return False
        if pattern.get("ok") and not event.ok:
            return False
        if "ret" in pattern and event.ret != _ret(pattern["ret"]):
            return False
        return all(
            _plain(event.args.get(name)) == value for name, value in pattern.get("args", {}).items()
        )

    def change(self, event: Event, to: Pattern) -> None:
        """Change the caller, the return, arguments or the time of an event."""
        if "by" in to:
            event.tid = self._thread(event.pid, to["by"])
        if "ret" in to:
            event.ret = _ret(to["ret"])
        if "args" in to:
            event.args = {**event.args, **_arguments(to["args"])}
        if to.get("at") == "end":
            event.ts_ns = self.events[-1].ts_ns + 1000
            self.events.sort(key=lambda other: other.ts_ns)

    def add(self, what: Pattern, after: Event) -> None:
        """Add an event behind another, by its thread unless it says by whom."""
        tid = self._thread(after.pid, what["by"]) if "by" in what else after.tid
        args = _arguments(what.get("args", {}))
        ret = None if "ret" not in what else _ret(what["ret"])
        made = Event(after.ts_ns + 1, after.pid, tid, what["call"], ret, args, after.cpu, 0)
        self.events.insert(self.events.index(after) + 1, made)

    def _thread(self, pid: int, role: str) -> int:
        threads = self._graph.threads.values()
        return next(t.tid for t in threads if t.pid == pid and t.role == role)

    def trace(self) -> Trace:
        """Return the trace, as if all of it had been recorded."""
        counts: Counter[int] = Counter()
        for event in self.events:
            counts[event.cpu] += 1
            event.seq = counts[event.cpu]
        cpus = tuple(
            CpuCounters(old.cpu, counts[old.cpu], old.dropped) for old in self._trace.end.cpus
        )
        end = replace(self._trace.end, cpus=cpus, outcome=self.outcome)
        return replace(self._trace, events=self.events, end=end)


def _arguments(given: Pattern) -> dict[str, Any]:
    args = dict(given)
    if isinstance(args.get("address"), str):
        host, _, port = args["address"].rpartition(":")
        args["address"] = Address.inet(host, int(port))
    return args


def _ret(value: int | str) -> int:
    return value if isinstance(value, int) else -_NUMBERS[value]


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Address) else value
