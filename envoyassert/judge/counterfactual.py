"""The smallest change of a scenario by which an expectation that failed would hold.

One value of the expectation is changed, and the same trace is judged again: what is proposed was
tried. Where several values would do, the one that says most comes first.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from envoyassert.graph.model import SocketGraph
from envoyassert.judge.judge import judge
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.selector import OWN
from envoyassert.trace import Trace
from envoyassert.words.of_listener.options import SocketPhase

#: How many values are tried for a failure.
_ATTEMPTS = 24
#: How many events may be judged for them, so that a long trace is tried a few times only.
_EVENTS = 150_000
_VIAS = ("reuse_port", "dup", "shared_fd")
_ROLE = re.compile(r"\b(main|worker_\d+|workers|other)\b")
_NUMBER = re.compile(r"(?<![\w.:])-?\d+\b(?![.:]\d)")
_MISMATCH = re.compile(r"(\w+) (\S+), not ")
_CALLER = re.compile(r"\bby (\w+), not ")
_ERRNO = re.compile(r"\bE[A-Z0-9]{3,}\b")
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

    @property
    def words(self) -> str:
        """`bound: {times: 2}` instead of 1."""
        keys = [str(key) for key in self.path[2:]]
        text = _plain(self.after)
        for key in reversed(keys[1:]):
            text = f"{{{key}: {text}}}"
        now = f"`{keys[0]}: {text}`"
        return now if self.before is None else f"{now} instead of {_plain(self.before)}"


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
        return None  # a crash is what is wrong, and no wish
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
            continue  # that nothing came of it is what is wrong, and no wish
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
    seen = f"{finding.seen} {finding.closest}"
    numbers = [int(number) for number in _NUMBER.findall(finding.seen)]
    if "never" in finding.seen or finding.seen.startswith("no "):
        numbers = [0, *numbers]
    if word == "via":
        yield from [via for via in _VIAS if f": {via}" in seen]
        yield from _VIAS
    elif word in ("by", "listen_by", "served_by", "bound_by"):
        roles = _ROLE.findall(seen)
        yield from dict.fromkeys(roles)
        if any(role.startswith("worker_") for role in roles):
            yield "workers"
        if word == "served_by":
            yield "none"
    elif word == "no_others":
        yield from ({"allow": ["admin"]}, {"allow": ["hot_restart", "admin"]})
    elif isinstance(now, bool):
        yield not now
    elif word == "errno":
        yield from dict.fromkeys(_ERRNO.findall(seen))
    elif word == "exits":
        yield from numbers
        yield "nonzero"
    elif word in _COUNTS:
        yield from ("workers" if n == workers > 1 and now == "workers" else n for n in numbers)
    elif word == "in_order" and isinstance(now, (list, tuple)):
        yield list(reversed(now))
    elif len(finding.path) > 3 and finding.path[2] == "options":
        if isinstance(now, dict) and "phase" in now:
            yield from ({**now, "phase": phase} for phase in get_args(SocketPhase))
        yield from numbers
        yield "absent"
    elif word in ("at_least", "at_most", "requested", "backlog", "value"):
        yield from numbers


def _elsewhere(
    finding: Finding, data: dict[str, Any], graph: SocketGraph
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield other listeners, where there was none that the expectation is about."""
    selector = data.get("listener")
    if not (finding.closest and isinstance(selector, dict)):
        return
    addresses = [socket.address for socket in graph.listening() if socket.address is not None]
    for key in ("port", "path", "abstract", "address", "netns"):
        if key not in selector:
            continue
        for address in addresses:
            value = {"address": address.host, "netns": address.netns or OWN}.get(key)
            value = getattr(address, key) if value is None else value
            if value is not None and str(value) in finding.closest:
                yield ("listener", key), value
    protocol = selector.get("protocol")
    if protocol is not None:
        for name in ("TCP", "UDP", "MPTCP"):
            if f"protocol {name}" in finding.closest:
                yield ("listener", "protocol"), name


def _like_the_closest(
    finding: Finding, data: dict[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield what a call is that comes closest: `listen(): backlog -1, not 64`."""
    pattern = data.get("calls")
    if not isinstance(pattern, dict):
        return
    for name, seen in _MISMATCH.findall(finding.closest):
        if name in pattern.get("args", {}):
            yield ("calls", "args", name), int(seen) if _NUMBER.fullmatch(seen) else seen
    caller = _CALLER.search(finding.closest)
    if caller is not None and "by" in pattern:
        yield ("calls", "by"), caller[1]


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


def _plain(value: Any) -> str:
    """Return a value as YAML's flow form writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)
