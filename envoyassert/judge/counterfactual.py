"""The smallest change of a scenario by which an expectation that failed would hold.

One value of the expectation is changed, and the same trace is judged again: what is proposed was
tried. Where several values would do, the one that says most comes first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from envoyassert.addresses import Address
from envoyassert.graph.model import SocketGraph
from envoyassert.judge.judge import judge
from envoyassert.judge.near import FailedBinds, NearCall, NearListener
from envoyassert.judge.values import (
    Fact,
    Groups,
    Number,
    Options,
    Shape,
    ThreadName,
    Threads,
    Value,
)
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.trace import Trace
from envoyassert.words.of_listener.options import SocketPhase

#: How many values are tried for a failure.
_ATTEMPTS = 24
#: How many events may be judged for them, so that a long trace is tried a few times only.
_EVENTS = 150_000
_VIAS = ("reuse_port", "dup", "shared_fd")
_COUNTS = ("times", "sockets", "descriptors", "listen_calls", "live", "ever", "serving", "spare")


@dataclass(frozen=True)
class Change:
    """One value of a scenario, changed.

    Args:
        path: where it stands: `("expect", 0, "bound", "times")`.
        before: the value that failed; None where the scenario does not say it.
        after: the value that holds on the same trace.
    """

    path: tuple[str | int, ...]
    before: Any
    after: Any


def counterfactual(
    trace: Trace,
    graph: SocketGraph,
    finding: Finding,
    expectations: Sequence[tuple[int, Conditional]],
    *,
    workers: int,
    assume: tuple[str, ...] = (),
) -> Change | None:
    """Return the smallest change by which an expectation would hold, None if none was found.

    Args:
        trace: what was judged.
        graph: what it folds into.
        finding: a FAIL that judging it gave.
        expectations: what it was judged by, with places in the scenario.
        workers: the number of workers that was asked for.
        assume: what the scenario takes for granted.
    """
    if finding.status is not Status.FAIL or finding.path[0] != "expect":
        return None
    if finding.path[2:3] == ("process",) and trace.end.outcome.signal is not None:
        return None  # a crash is what is wrong, and no expectation
    limit = min(_ATTEMPTS, _EVENTS // (len(trace.events) + 1))
    index = finding.path[1]
    item = next(item for place, item in expectations if place == index)
    data = item.model_dump(exclude_unset=True, mode="python")
    # What the changed item is judged with: variables and the closed world lean on the others.
    failed_before = _failures(_judged(trace, graph, expectations, workers, assume), index)
    tried = 0
    ended = not trace.end.outcome.running or any(not event.ok for event in finding.evidence)
    for path, value in _candidates(finding, data, graph, workers):
        if value == 0 and ended and path[-1] in _COUNTS:
            continue  # that nothing came of it is what is wrong, and no expectation
        changed = _with_value(data, path, value)
        before = _value_at(data, path)
        if changed is None or before == value:
            continue
        try:
            other = type(item).model_validate(changed)
        except ValidationError:
            continue
        tried += 1
        if tried > limit:
            return None
        items = [(place, other if place == index else kept) for place, kept in expectations]
        findings = _judged(trace, graph, items, workers, assume)
        if _holds(findings, finding, index, failed_before):
            return Change(("expect", index, *path), before, value)
    return None


def _judged(
    trace: Trace,
    graph: SocketGraph,
    items: Sequence[tuple[int, Conditional]],
    workers: int,
    assume: tuple[str, ...],
) -> tuple[Finding, ...]:
    """Return the findings of judging some expectations."""
    return judge(trace, items, workers=workers, assume=assume, graph=graph).findings


def _failures(findings: Iterable[Finding], index: object) -> set[tuple[str | int, ...]]:
    return {f.path for f in findings if f.path[1] == index and f.status is not Status.PASS}


def _holds(
    findings: Iterable[Finding], failed: Finding, index: object, before: set[tuple[str | int, ...]]
) -> bool:
    """Whether the atom that failed holds now, and none of its expectation fails that did not."""
    mine = [finding for finding in findings if finding.path[1] == index]
    same = [finding for finding in mine if finding.path == failed.path]
    after = {finding.path for finding in mine if finding.status is not Status.PASS}
    return bool(same) and all(f.status is Status.PASS for f in same) and after <= before


def _candidates(
    finding: Finding, data: dict[str, Any], graph: SocketGraph, workers: int
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield places in an expectation with values that may make it hold, the likeliest first."""
    path = finding.path[2:]
    yield from _elsewhere(finding, data, graph)
    yield from _like_the_closest(finding, data)
    for place in (path, path[:-1]):
        if not place:
            continue
        word = str(place[-1])
        for value in _values(word, finding, _value_at(data, place), workers):
            yield place, value


def _values(word: str, finding: Finding, now: Any, workers: int) -> Iterator[Any]:
    """Yield values for a key, taken from what was seen."""
    numbers = list(_numbers(finding.seen))
    if word == "via":
        yield from _shapes(finding.seen)
    elif word in ("by", "listen_by", "served_by", "bound_by"):
        yield from _roles(word, finding)
    elif word == "no_others":
        yield from ({"allow": ["admin"]}, {"allow": ["hot_restart", "admin"]})
    elif isinstance(now, bool):
        yield not now
    elif word == "errno":
        yield from dict.fromkeys(_errnos(finding))
    elif word == "exits":
        yield from numbers
        yield "nonzero"
    elif word in _COUNTS:
        yield from ("workers" if n == workers > 1 and now == "workers" else n for n in numbers)
    elif word == "in_order" and isinstance(now, (list, tuple)):
        yield list(reversed(now))
    elif finding.code == "options":
        if isinstance(now, dict) and "phase" in now:
            yield from ({**now, "phase": phase} for phase in get_args(SocketPhase))
        yield from numbers
        yield "absent"
    elif word in ("at_least", "at_most", "requested", "backlog", "value"):
        yield from numbers


def _shapes(seen: Value) -> Iterator[str]:
    """Yield how sockets can come about, first as was seen."""
    if isinstance(seen, Shape) and seen.name:
        yield seen.name
    yield from _VIAS


def _roles(word: str, finding: Finding) -> Iterator[str]:
    """Yield who was seen to do it, in the words of the expectation language."""
    threads = list(_threads(finding))
    yield from dict.fromkeys(thread.word for thread in threads)
    if any(thread.number is not None for thread in threads):
        yield "workers"
    if word == "served_by":
        yield "none"


def _numbers(seen: Value) -> Iterator[int]:
    """Yield the numbers that were seen of what a finding asks for."""
    match seen:
        case Number(number=number):
            yield number
        case Groups(members=members):
            yield from dict.fromkeys(number for _, number in members)
        case Options(ways=ways):
            yield from (one.value for way in ways for one in way if isinstance(one.value, int))
        case Fact(code="backlog_seen" | "backlog_held"):
            yield from seen["numbers"]
        case Fact(code="exited"):
            yield seen["status"]
        case Fact(code="no_socket_bound" | "no_socket_listens" | "none_of"):
            yield 0


def _threads(finding: Finding) -> Iterator[ThreadName]:
    """Yield the threads that a finding names, those that were seen first."""
    if isinstance(finding.seen, Threads):
        yield from finding.seen.threads
        if finding.seen.note is not None:
            yield from finding.seen.note.details.get("threads", ())
    for near in finding.near:
        match near:
            case NearListener():
                yield from (*near.bound_by, *near.served_by)
            case FailedBinds():
                yield from near.by
            case NearCall():
                yield from (one.seen for one in near.differs if one.field == "by")


def _errnos(finding: Finding) -> Iterator[str]:
    """Yield the errors with which calls failed that a finding names."""
    for near in finding.near:
        match near:
            case NearListener(errno=str(errno)):
                yield errno
            case FailedBinds(errnos=errnos):
                yield from errnos
            case NearCall():
                yield from (
                    one.seen
                    for one in near.differs
                    if one.field in ("errno", "succeeds") and one.seen
                )


def _elsewhere(
    finding: Finding, data: dict[str, Any], graph: SocketGraph
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the listener that comes closest, where there was none that the expectation is about."""
    selector = data.get("listener")
    if not isinstance(selector, dict):
        return
    listening = {str(socket.address) for socket in graph.listening()}
    there = {
        one.field: one.seen
        for near in finding.near
        if isinstance(near, NearListener) and near.address in listening
        for one in near.differs
    }
    for key in ("port", "path", "abstract", "address", "netns", "protocol"):
        if key in selector and key in there:
            yield ("listener", key), there[key]


def _like_the_closest(
    finding: Finding, data: dict[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield what a call is that comes closest."""
    pattern = data.get("calls")
    if not isinstance(pattern, dict):
        return
    near = [one for call in finding.near if isinstance(call, NearCall) for one in call.differs]
    for one in near:
        _, argument, name = one.field.partition("args.")
        if argument and name in pattern.get("args", {}):
            value = str(one.seen) if isinstance(one.seen, Address) else one.seen
            yield ("calls", "args", name), value
    for one in near:
        if one.field == "by" and "by" in pattern:
            yield ("calls", "by"), one.seen.word


def _value_at(data: Any, path: Sequence[str | int]) -> Any:
    for key in path:
        if isinstance(data, dict) and key in data:
            data = data[key]
        else:
            return None
    return data


def _with_value(
    data: dict[str, Any], path: Sequence[str | int], value: Any
) -> dict[str, Any] | None:
    """Return data with another value at a place, None if there is no such place."""
    changed = copy.deepcopy(data)
    at: Any = changed
    for key in path[:-1]:
        if not isinstance(at, dict) or key not in at:
            return None
        at = at[key]
    if not isinstance(at, dict):
        return None
    at[path[-1]] = value
    return changed
