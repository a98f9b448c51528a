"""Two records of one run, held against each other call by call, thread by thread.

The second tracer is read after the probe's records, so each side may have, at the end of a thread,
what the other cannot have yet: a call of the second that returned after the probe's records were
read, and on either side one call that was in flight. Everything else must be the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from envoyassert.accounts import SecondWitness
from envoyassert.calls import AT_ENTRY, KERNEL_FACTS
from envoyassert.events import Event
from envoyassert.fact import Fact
from envoyassert.trace import Trace

#: The kernel's own pointer, which no system call shows, and a time, which no two tracers measure
#: equally.
_NOT_COMPARED = frozenset({"sk", "age_ns"})


def reconcile(trace: Trace, second: SecondWitness) -> tuple[list[Fact], int]:
    """Compare the probe's record with another tracer's.

    Arguments that the second does not show as values are not compared.

    Args:
        trace: the probe's.
        second: the other's.

    Returns:
        What differs, with the call and both sides, and how many calls there were.
    """
    ours, theirs = _by_thread(trace.events), _by_thread(second.events)
    found: list[Fact] = []
    compared = 0
    for tid in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(tid, []), theirs.get(tid, [])
        compared += min(len(mine), len(other))
        difference = _thread(tid, mine, other, second)
        if difference is not None:
            found.append(difference)
    found += _waits(trace.events, second)
    found += _tasks(trace.events, second)
    return found, compared


def _by_thread(events: Iterable[Event]) -> dict[int, list[Event]]:
    found: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.call not in KERNEL_FACTS and event.call not in AT_ENTRY:
            found[event.tid].append(event)
    return found


def _thread(tid: int, mine: list[Event], other: list[Event], second: SecondWitness) -> Fact | None:
    """Return the first difference between the calls of one thread, None if there is none."""
    for index, (event, shown) in enumerate(zip(mine, other, strict=False), 1):
        if not _same(event, shown):
            sides = {"probe": event, "other": shown, "by": second.by}
            return Fact("call_differs", number=index, tid=tid, **sides)
    common = min(len(mine), len(other))
    if len(mine) > common + 1:
        return Fact("call_unknown", call=mine[common], tid=tid, to=second.by)
    late = [event for event in other[common:] if event.ts_ns > second.until_ns]
    missing = len(other) - common - len(late)
    # A close is recorded with the time of its beginning.
    if missing > 1 or (missing == 1 and other[common].call != "close"):
        return Fact("call_unknown", call=other[common], tid=tid, by=second.by)
    return None


def _same(event: Event, shown: Event) -> bool:
    if (event.call, event.ret) != (shown.call, shown.ret):
        return False
    for name, value in shown.args.items():
        if (
            value is None
            or name in _NOT_COMPARED
            or (event.call == "epoll_ctl" and _is_irrelevant(event, name))
        ):
            continue
        mine = event.args.get(name)
        if mine != value and not (mine is None and event.fault):
            return False
    return True


def _is_irrelevant(event: Event, name: str) -> bool:
    # EPOLL_CTL_DEL ignores the mask: what lies there is anything (epoll_ctl(2)).
    return name == "events" and event.args["op"] == "EPOLL_CTL_DEL"


def _waits(events: list[Event], second: SecondWitness) -> list[Fact]:
    """Compare who waits on which epoll; a wait is recorded at its beginning."""
    mine = {(e.tid, e.args["epfd"]) for e in events if e.call in AT_ENTRY}
    other = {
        (e.tid, e.args["epfd"])
        for e in second.events
        if e.call in AT_ENTRY and e.ts_ns <= second.until_ns
    }
    late = {
        (e.tid, e.args["epfd"])
        for e in second.events
        if e.call in AT_ENTRY and e.ts_ns > second.until_ns
    }
    return [
        *(
            Fact("wait_unknown", tid=tid, epfd=epfd, to=second.by)
            for tid, epfd in sorted(mine - other - late)
        ),
        *(
            Fact("wait_unknown", tid=tid, epfd=epfd, by=second.by)
            for tid, epfd in sorted(other - mine)
        ),
    ]


def _tasks(events: list[Event], second: SecondWitness) -> list[Fact]:
    """Compare executables and threads."""
    found = []
    for call, name in (("exec", "filename"), ("fork", "child_tid")):
        mine = {e.args[name] for e in events if e.call == call}
        other = {e.args[name] for e in second.events if e.call == call}
        early = {
            e.args[name] for e in second.events if e.call == call and e.ts_ns <= second.until_ns
        }
        unknown = {"call": call}
        found += [Fact("task_unknown", what=one, to=second.by, **unknown) for one in mine - other]
        found += [Fact("task_unknown", what=one, by=second.by, **unknown) for one in early - mine]
    return sorted(found, key=lambda fact: (fact["call"], str(fact["what"])))
