"""What a change of a config does to each listener: a table and a picture, before and after.

The picture has kernel sockets, their descriptors, and who serves each:

socket 1 -+- descriptor       --- worker_0
          '- descriptor (dup) --- worker_1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from envoyassert.compare import profile as p
from envoyassert.compare.aspect_text import side_text
from envoyassert.compare.comparison import Comparison, Pair, is_unobserved
from envoyassert.compare.diff_text import (
    NOT_SURE,
    difference_json,
    difference_lines,
    incomplete_lines,
    side_json,
    side_words,
)
from envoyassert.compare.measure import Measure
from envoyassert.compare.profile import Facts, Listener, Profile
from envoyassert.graph.model import Descriptor, KernelSocket
from envoyassert.judge.roles import names_of
from envoyassert.judge.target import serving_of
from envoyassert.judge.values import SINGLE
from envoyassert.report.table import columns, count, wrapped
from envoyassert.texts.values import threads_words

_ASPECTS = {
    p.SOCKETS: "kernel sockets",
    p.DESCRIPTORS: "open descriptors",
    p.EVER: "descriptors",
    p.SHAPE: "reach the workers by",
    p.SERVED: "served by",
    p.BIND: "bind()",
    p.BIND_FAILED: "failed bind()",
    p.LISTEN: "listen()",
    p.LISTEN_FAILED: "failed listen()",
    p.DUP: "dup()",
    p.BACKLOG: "backlog",
}
#: Left out where neither run has any.
_RARE = (p.BIND_FAILED, p.LISTEN_FAILED)
_ONE_QUEUE = "one accept queue for all workers: every worker is woken, and who is first accepts"
#: What the ways to reach the workers mean for clients.
MEANING = {
    "reuse_port": "an accept queue per worker: the kernel spreads connections over them by a hash "
    "of the addresses, and those of a busy worker wait for it",
    "dup": _ONE_QUEUE,
    "shared_fd": _ONE_QUEUE,
}


def plan_lines(
    comparison: Comparison, before: str, after: str, *, everything: bool = True
) -> list[str]:
    """Return what a change does to each listener.

    Args:
        comparison: the run without the change and the one with it.
        before: the name of the old one, a file say.
        after: the name of the new one.
        everything: whether listeners, and aspects of them, are shown that stay as they are.
    """
    lines = [
        *wrapped(f"before: {before}: {side_words(comparison.before)}", hang="  "),
        *wrapped(f"after:  {after}: {side_words(comparison.after)}", hang="  "),
        *incomplete_lines(comparison, before, after),
    ]
    listeners = listeners_of(comparison)
    shown = listeners if everything else listeners_changed(comparison)
    for pair in shown:
        rows = [["", "", "before", "after"], *_rows(comparison, pair)]
        if not everything:
            rows = [rows[0], *(row for row in rows[1:] if row[0] or row[2] != row[3])]
        pictures = (
            picture_lines(comparison.before, pair.before),
            picture_lines(comparison.after, pair.after),
        )
        lines += ["", *wrapped(pair.title), *columns(rows)]
        if everything or pictures[0] != pictures[1]:
            lines += ["", *side_by_side(*pictures)]
        lines += [line for text in _meaning(pair) for line in ("", *wrapped(text, "  ", "  "))]
    rest = [
        d for d in comparison.differences if d.subject not in {pair.title for pair in listeners}
    ]
    if rest:
        lines += ["", *difference_lines(rest)]
    return [*lines, "", summary_words(comparison)]


def listeners_of(comparison: Comparison) -> list[Pair]:
    """Return the listeners that are shown: all of the configs, but for Envoy's own sockets."""
    return [
        pair
        for pair in comparison.pairs
        for sides in [[side.group for side in (pair.before, pair.after) if side is not None]]
        if not all(group.is_empty for group in sides) and not any(group.own for group in sides)
    ]


def listeners_changed(comparison: Comparison) -> list[Pair]:
    """Return those of `listeners_of` of which something differs, if only with the workers."""
    subjects = {difference.subject for difference in comparison.differences}
    return [
        pair
        for pair in listeners_of(comparison)
        if pair.title in subjects
        or picture_lines(comparison.before, pair.before)
        != picture_lines(comparison.after, pair.after)
    ]


def summary_words(comparison: Comparison) -> str:
    """Return `2 listeners change, 3 unchanged`, or `no start-up differences: 3 listeners`."""
    pairs = listeners_of(comparison)
    changed = len(listeners_changed(comparison))
    if changed:
        verb = "changes" if changed == 1 else "change"
        words = f"{count(changed, 'listener')} {verb}, {len(pairs) - changed} unchanged"
    else:
        words = f"no start-up differences: {count(len(pairs), 'listener')}"
    unsure = comparison.result == "unknown" or any(not d.sure for d in comparison.differences)
    return words + (NOT_SURE if unsure else "")


def plan_json(comparison: Comparison, before: str, after: str) -> dict[str, object]:
    """Return the same as JSON types."""
    return {
        "result": comparison.result,
        "before": side_json(comparison.before, before),
        "after": side_json(comparison.after, after),
        "listeners": [
            {
                "listener": pair.title,
                "before": _facts(pair.before),
                "after": _facts(pair.after),
                "changed": [d.aspect for d in comparison.differences if d.subject == pair.title],
                "picture": {
                    "before": picture_lines(comparison.before, pair.before),
                    "after": picture_lines(comparison.after, pair.after),
                },
            }
            for pair in listeners_of(comparison)
        ],
        "differences": [difference_json(one) for one in comparison.differences],
        "not_compared": list(comparison.not_compared),
    }


def _facts(listener: Listener | None) -> dict[str, list[dict[str, object]]]:
    """Return what was measured of a listener, each as numbers with what they are of."""
    if listener is None:
        return {}
    return {
        aspect: [measured_json(key, measure) for key, measure in found.items() if measure.seen]
        for aspect, found in listener.facts.items()
    }


def measured_json(key: p.Key, measure: Measure) -> dict[str, object]:
    """Return one measure: `{"count": 1, "by": "main"}`, `{"count": 2, "of": 2, "value": -1}`."""
    found: dict[str, object] = {"count": measure.seen}
    if measure.of is not None:
        found["of"] = measure.of
    if isinstance(key, p.Setting):
        return {**found, "value": _typed(key.value), "when": key.phase.replace(" ", "_")}
    if key in ("main", "workers", "other"):
        return {**found, "by": key}
    return {**found, "value": _typed(str(key))} if key else found


def _typed(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _rows(comparison: Comparison, pair: Pair) -> Iterator[list[str]]:
    """Yield a row per aspect, marked with `*` where it changes."""
    changed = {d.aspect for d in comparison.differences if d.subject == pair.title}
    everything = changed & {"listener", "address"}
    facts = [side.facts if side is not None else {} for side in (pair.before, pair.after)]
    options = [aspect for side in facts for aspect in side if aspect.startswith(p.OPTION)]
    titles = {**_ASPECTS, **{option: option.removeprefix(p.OPTION) for option in sorted(options)}}
    titles.pop(p.EVER if p.EVER in comparison.dropped else p.DESCRIPTORS)
    if "address" in everything:
        places = [side.group.place for side in (pair.before, pair.after) if side is not None]
        yield [" *", "address", *places]
    for aspect, title in titles.items():
        sides = [
            "?" if is_unobserved(profile, aspect) else _side(aspect, side)
            for profile, side in zip((comparison.before, comparison.after), facts, strict=True)
        ]
        if aspect in _RARE and sides in (["none", "none"], ["?", "?"]):
            continue
        mark = aspect in changed or ("listener" in everything and sides[0] != sides[1])
        yield [" *" if mark else "", title, *sides]


def _side(aspect: str, facts: Facts) -> str:
    if aspect == p.BACKLOG and facts.get(p.LISTEN) and not facts.get(p.BACKLOG):
        return "?"  # the log did not have what listen() was called with
    shape = next(iter(facts.get(p.SHAPE, {})), "")
    alone = shape == SINGLE or (shape == "dup" and facts[p.EVER][""].seen == 1)
    if aspect == p.SHAPE and alone:
        return "a single descriptor"
    return side_text(aspect, facts.get(aspect, {}))


def _meaning(pair: Pair) -> Iterator[str]:
    """Yield what a change of the way to the workers means."""
    shapes = [next(iter(s.facts[p.SHAPE]), "") if s else "" for s in (pair.before, pair.after)]
    if shapes[0] != shapes[1] and shapes[1] in MEANING:
        yield MEANING[shapes[1]]


#: Lines of one picture; with many workers they are identical.
_MAX_LINES = 8
#: Width of the left one of two pictures.
_HALF = 48


def picture_lines(profile: Profile, listener: Listener | None) -> list[str]:
    """Return the picture of a listener in one run.

    Args:
        profile: the run.
        listener: one of its listeners, None if it does not have it.
    """
    if listener is None or not listener.group.sockets:
        return ["(no socket)"]
    sockets = [s for s in listener.group.sockets if s.is_live or profile.ended]
    if not sockets:
        return ["(no socket is open)"]
    lines = [
        line
        for number, socket in enumerate(sockets, 1)
        for line in _socket(profile, number, socket)
    ]
    if len(lines) > _MAX_LINES:
        more = count(len(lines) - _MAX_LINES + 1, "more descriptor")
        lines = [*lines[: _MAX_LINES - 1], f"… and {more}"]
    return lines


def side_by_side(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return two pictures next to each other, or one below the other if they are too wide."""
    titled = [["before", *before], ["after", *after]]
    if max(map(len, titled[0])) >= _HALF:
        return [f"  {line}" for line in (*titled[0], *titled[1])]
    return [
        f"  {left:<{_HALF}}{right}".rstrip()
        for left, right in zip_longest(titled[0], titled[1], fillvalue="")
    ]


def _socket(profile: Profile, number: int, socket: KernelSocket) -> Iterator[str]:
    descriptors = [d for d in socket.descriptors if d.is_open] or socket.descriptors
    names = [_name(descriptor) for descriptor in descriptors]
    width = max(map(len, names))
    lead = f"socket {number}"
    for index, (descriptor, name) in enumerate(zip(descriptors, names, strict=True)):
        last = index == len(descriptors) - 1
        joint = "---" if len(descriptors) == 1 else "-+-" if not index else " '-" if last else " +-"
        head = lead if not index else " " * len(lead)
        yield f"{head} {joint} {name:<{width}} --- {_servers(profile, descriptor)}"


def _name(descriptor: Descriptor) -> str:
    plain = descriptor.origin in ("socket", "unknown")
    return "descriptor" if plain else f"descriptor ({descriptor.origin})"


def _servers(profile: Profile, descriptor: Descriptor) -> str:
    if profile.ended:
        return "(ended)"
    by_listen = profile.lacks("epoll")
    serving = serving_of((descriptor.socket,), by_listen)
    threads = [entry.thread for entry in serving if entry.descriptor is descriptor]
    if not threads:
        return "no one"
    return threads_words(names_of(threads)) + (" (by listen)" if by_listen else "")
