"""The smallest change of a scenario by which an expectation that failed would hold.

One value of the expectation is changed, and the same trace is judged again: what is proposed was
tried. Where several values would do, the one that says most comes first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from envoyassert.graph.model import SocketGraph
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.trace import Trace
from envoyassert.words.registry import word_named, word_of
from envoyassert.words.remedy import ANY, SHARED, Change, Failed, Place, opposite
from envoyassert.words.word import itself

#: How many values are tried for a failure.
_ATTEMPTS = 24
#: How many events may be judged for them, so that a long trace is tried a few times only.
_EVENTS = 150_000


def counterfactual(
    trace: Trace,
    graph: SocketGraph,
    finding: Finding,
    expectations: Sequence[tuple[int, Conditional]],
    *,
    workers: int,
    assume: tuple[str, ...] = (),
    accepts: Callable[[object, object], bool] = lambda _before, _after: True,
) -> Change | None:
    """Return the smallest change by which an expectation would hold, None if none was found.

    Args:
        trace: what was judged.
        graph: what it folds into.
        finding: a FAIL that judging it gave.
        expectations: what it was judged by, with places in the scenario.
        workers: the number of workers that was asked for.
        assume: what the scenario takes for granted.
        accepts: returns whether a value may take the place of another.
    """
    if finding.status is not Status.FAIL or finding.path[0] != "expect":
        return None
    if finding.subject.kind == "process" and trace.end.outcome.signal is not None:
        return None  # a crash is what is wrong, and no expectation
    limit = min(_ATTEMPTS, _EVENTS // (len(trace.events) + 1))
    index = finding.path[1]
    item = next(item for place, item in expectations if place == index)
    data = item.model_dump(exclude_unset=True, mode="python")
    # What the changed item is judged with: variables and the closed world rely on the others.
    failed_before = _failures(_judged(trace, graph, expectations, workers, assume), index)
    tried = 0
    ended = not trace.end.outcome.running or any(not event.ok for event in finding.evidence)
    for path, value in _candidates(Failed(finding, None, workers, ended), item, data, graph):
        changed = _with_value(data, path, value)
        before = _value_at(data, path)
        if changed is None or before == value or not accepts(before, value):
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
        if _holds(findings, finding, index, failed_before, gone=_stands_for(item)):
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


def _stands_for(item: Conditional) -> bool:
    """Whether an expectation stands for others, so that it may no longer ask for one of them."""
    return word_of(item).stands_for is not itself


def _holds(
    findings: Iterable[Finding],
    failed: Finding,
    index: object,
    before: set[tuple[str | int, ...]],
    *,
    gone: bool,
) -> bool:
    """Whether the atom that failed holds now, and none of its expectation fails that did not.

    Args:
        findings: after the change.
        failed: the atom.
        index: of its expectation.
        before: what failed of that before the change.
        gone: whether it will do that the atom is no longer asked.
    """
    mine = [finding for finding in findings if finding.path[1] == index]
    same = [finding for finding in mine if finding.path == failed.path]
    after = {finding.path for finding in mine if finding.status is not Status.PASS}
    return bool(same or gone) and all(f.status is Status.PASS for f in same) and after <= before


def _candidates(
    failed: Failed, item: Conditional, data: dict[str, object], graph: SocketGraph
) -> Iterator[tuple[Place, object]]:
    """Yield places in an expectation with values that may make it hold, the likeliest first."""
    finding = failed.finding
    yield from word_of(item).closest(finding, data, graph)
    path = finding.path[2:]
    word = word_named(path[0]) if path else None
    own = word.tries if word is not None else {}
    for place in (path, path[:-1]):
        if not place:
            continue
        key = str(place[-1])
        tries = own.get(key) or own.get(ANY) or SHARED.get(key, opposite)
        for value in tries(replace(failed, now=_value_at(data, place))):
            yield place, value


def _value_at(data: object, path: Sequence[str | int]) -> object:
    for key in path:
        if isinstance(data, dict) and key in data:
            data = data[key]
        else:
            return None
    return data


def _with_value(
    data: dict[str, object], path: Sequence[str | int], value: object
) -> dict[str, object] | None:
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
