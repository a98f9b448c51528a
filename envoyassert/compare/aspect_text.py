"""One changed aspect of a run in words, the new run seen from the old one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from envoyassert.compare import profile as p
from envoyassert.compare.measure import Measure, Workers, same
from envoyassert.judge.values import SINGLE
from envoyassert.report.table import count

Measures = Mapping[p.Key, Measure]

_ROLES: Mapping[p.Key, str] = {
    "main": "main",
    "workers": "worker threads",
    "other": "other threads",
}
_CALLS = {p.BIND: "bind()", p.LISTEN: "listen()", p.DUP: "dup()"}
_SHAPES: Mapping[p.Key, str] = {
    "dup": "workers share one kernel socket, each by a descriptor of its own (dup)",
    "reuse_port": "every worker has a kernel socket of its own (reuse_port)",
    "shared_fd": "workers share one descriptor (shared_fd)",
    SINGLE: "one thread waits on one socket",
    "": "no known way to reach the workers",
}
_NOUNS = {
    p.SOCKETS: "socket",
    p.OPEN_SOCKETS: "open socket",
    p.DESCRIPTORS: "open descriptor",
    p.EVER: "descriptor",
    p.WORKERS: "worker",
    p.PROCESSES: "process",
}


def aspect_words(aspect: str, before: Measures, after: Measures, workers: Workers) -> str:
    """Return what changed in an aspect: `listen() moved from worker threads to main`.

    Args:
        aspect: one of the aspects of `envoyassert.compare.profile`.
        before: what was measured in the old run.
        after: what was measured in the new run.
        workers: how many workers there were.
    """
    if aspect in _CALLS:
        return _call(_CALLS[aspect], before, after, workers)
    if aspect in _NOUNS:
        return _number(_NOUNS[aspect], before, after)
    if aspect.startswith(p.OPTION):
        return _option(aspect.removeprefix(p.OPTION), before, after)
    if aspect == p.SHAPE:
        return f"now {_SHAPES[_only(after)]}; before, {_SHAPES[_only(before)]}"
    if aspect == p.SERVED:
        return f"served by {_served(after)} instead of {_served(before)}"
    if aspect == p.BACKLOG:
        return f"backlog of listen() is {_shares(after)} instead of {_shares(before)}"
    if aspect == p.OUTCOME:
        return f"Envoy {_past(_only(after))}; before, it {_past(_only(before))}"
    if aspect in (p.BIND_FAILED, p.LISTEN_FAILED):
        return f"{aspect}: {side_text(aspect, after)} instead of {side_text(aspect, before)}"
    title = {p.REGISTERED: "epoll registrations", p.FILES: "file calls", p.ORDER: "order of calls"}
    now, then = side_text(aspect, after), side_text(aspect, before)
    return f"{title.get(aspect, aspect)}: {now} instead of {then}"


def side_text(aspect: str, measures: Measures) -> str:
    """Return one side of an aspect: `2 by main`, `1 before bind`, `none`."""
    if not any(measure.seen for measure in measures.values()):
        return "0" if aspect in _NOUNS else "none"
    if aspect in _NOUNS:
        return str(_total(measures))
    if aspect in _CALLS:
        return ", ".join(f"{m.seen} by {_ROLES[role]}" for role, m in _in_order(measures))
    if aspect == p.SERVED:
        return _served(measures)
    if aspect in (p.SHAPE, p.OUTCOME):
        return str(_only(measures))
    if aspect in (p.BIND_FAILED, p.LISTEN_FAILED, p.REGISTERED, p.FILES):
        return ", ".join(f"{measure.seen} x {key}" for key, measure in _in_order(measures))
    return _shares(measures)


def _total(measures: Measures) -> int:
    return sum(measure.seen for measure in measures.values())


def _only(measures: Measures) -> p.Key:
    return next(iter(measures), "")


def _in_order(measures: Measures) -> list[tuple[p.Key, Measure]]:
    return sorted(measures.items(), key=lambda item: str(item[0]))


def _roles(measures: Measures) -> str:
    return " and ".join(_ROLES[role] for role, measure in _in_order(measures) if measure.seen)


def _call(call: str, before: Measures, after: Measures, workers: Workers) -> str:
    old, new = ({k for k, m in side.items() if m.seen} for side in (before, after))
    if not old:
        return f"{call} now called {count(_total(after), 'time')} by {_roles(after)}"
    if not new:
        return (
            f"{call} no longer called; it was {count(_total(before), 'time')} by {_roles(before)}"
        )
    times = ""
    is_share = any(measure.of is not None for measure in (*before.values(), *after.values()))
    totals = [Measure(_total(side), 0, whole=True) for side in (before, after)]
    if not is_share and not same(totals[0], totals[1], workers):
        times = f"{count(totals[1].seen, 'time')} instead of {totals[0].seen}"
    if old == new and len(new) == 1 and times:
        return f"{call} called {times} by {_roles(after)}"
    if old != new and not old & new:
        moved = f"{call} moved from {_roles(before)} to {_roles(after)}"
        return f"{moved}, {times}" if times else moved
    sides = [side_text(p.LISTEN, side) for side in (after, before)]
    return f"{call} called {sides[0]} instead of {sides[1]}"


def _number(noun: str, before: Measures, after: Measures) -> str:
    old, new = _total(before), _total(after)
    plural = "processes" if noun == "process" else ""
    if noun == "worker":
        return f"{count(new, noun)} instead of {old}"
    change = count(abs(new - old), noun, plural)
    return f"{'+' if new > old else '-'}{change}: {new} instead of {old}"


def _option(name: str, before: Measures, after: Measures) -> str:
    old, new = (any(m.seen for m in side.values()) for side in (before, after))
    if new and not old:
        return f"{name} now set {_settings(after)}"
    if old and not new:
        return f"{name} no longer set {_settings(before)}"
    return f"{name} is {_shares(after)} instead of {_shares(before)}"


def _settings(measures: Measures) -> str:
    """Return `before bind`, with the value unless that is 1, the usual one for `on`."""
    return _shares(
        measures,
        lambda key: key.phase if isinstance(key, p.Setting) and key.is_one else f"to {key}",
    )


def _shares(measures: Measures, words: Callable[[p.Key], str] = str) -> str:
    if not any(measure.seen for measure in measures.values()):
        return "none"
    parts = []
    for key, measure in _in_order(measures):
        if measure.seen:
            share = "" if measure.is_all else f" on {measure.text} sockets"
            parts.append(words(key) + share)
    return ", ".join(parts)


def _served(measures: Measures) -> str:
    numbers = {role: measure.seen for role, measure in _in_order(measures) if measure.seen}
    words: Mapping[p.Key, str] = {
        "main": "main",
        "workers": count(numbers.get("workers", 0), "worker"),
        "other": count(numbers.get("other", 0), "other thread"),
    }
    return " and ".join(words[role] for role in numbers) or "no one"


def _past(ending: p.Key) -> str:
    """Return how Envoy ended; `?` where that is not known."""
    if not isinstance(ending, p.Ending):
        return "?"
    if ending.exit_code is not None:
        return str(ending)
    return "became live" if ending.live else f"was {ending}"
