"""What a change did, for people, for a pull request, and as JSON types."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from typing import Any

from envoyassert.addresses import Address
from envoyassert.predict.effects import Fate, Kind, Way
from envoyassert.report.github_text import inline
from envoyassert.report.table import columns, count, wrapped
from envoyassert.review.words import reason_words
from envoyassert.transition.clients import Clients, Gap
from envoyassert.transition.difference import Difference
from envoyassert.transition.observed import (
    Observed,
    ObservedListener,
    ObservedPlace,
    Spread,
)
from envoyassert.transition.outcome import Report, changes, result_of

FORMAT = "envoyassert-transition/1"
_WAYS = {Way.PUSH: "push", Way.HOT_RESTART: "hot restart", Way.RESTART: "restart"}
_KINDS = {
    Kind.SAME: "stays as it is",
    Kind.ADDED: "new",
    Kind.REMOVED: "removed",
    Kind.IN_PLACE: "updated in place: main copies descriptors, the workers keep theirs",
    Kind.FULL_KEPT: "replaced, on the same kernel sockets",
    Kind.FULL_NEW: "replaced, on new kernel sockets",
    Kind.DROPPED: "acknowledged and given up: it has no socket any more",
    Kind.REFUSED: "refused: it stays as it was",
    Kind.ENDS_ENVOY: "Envoy does not come up",
    Kind.UNKNOWN: "unknown",
}
_DRAINED = {
    Way.PUSH: "when the drain time was over",
    Way.HOT_RESTART: "when the old epoch ended",
}
_ENDS = ("answered", "closed", "reset", "silent", "refused")
_NOTHING_LOST = "no client lost anything"
_UNSURE = "what was lost is not known: a trace is not whole"


def report_lines(report: Report, old: str, new: str, *, everything: bool = False) -> list[str]:
    """Return what one way of a change did.

    Args:
        report: the way.
        old: name of the config that was running.
        new: name of the other one.
        everything: whether listeners to which nothing happened are shown.
    """
    seen = report.observed
    lines = wrapped(f"{_WAYS[seen.way]}: {old} -> {new}: {_setting(seen)}", hang="  ")
    if seen.problem:
        return [*lines, *wrapped(f"not tried: {seen.problem}", "  ", "    ")]
    if seen.words:
        lines += wrapped(f"{_answer(seen)}: {seen.words}", "  ", "    ")
    elif seen.is_refused:
        lines += [f"  {_answer(seen)}"]
    for text in seen.missing:
        lines += wrapped(f"incomplete: {text}", "  ", "    ")
    shown = [one for one in seen.listeners if everything or changes(one)]
    for listener in shown:
        lines += ["", *wrapped(f"{_title(listener)}: {_KINDS[listener.kind]}", "  ", "    ")]
        lines += columns([*_rows(listener), *_of_model(report, listener)], "    ")
    if len(shown) < len(seen.listeners):
        left = count(len(seen.listeners) - len(shown), "listener")
        lines += ["", f"  {left}: nothing happened"]
    lines += ["", *wrapped(f"  {summary(report)}", hang="  ")]
    for one in report.differences:
        lines += wrapped(_difference_words(one), "  ", "    ")
    for note in seen.notes:
        lines += wrapped(f"note: {note}", "  ", "    ")
    return lines


def summary(report: Report) -> str:
    """Return in a line what clients lost."""
    seen = report.observed
    if seen.problem:
        return f"not tried: {seen.problem}"
    counts = (
        (sum(one.lost for one in seen.listeners), "request lost", "requests lost"),
        (sum(one.reset for one in seen.listeners), "connection reset", "connections reset"),
        (sum(one.refused for one in seen.listeners), "connection refused", "connections refused"),
        (
            sum(one.unanswered for one in seen.listeners),
            "listener that answers no one",
            "listeners that answer no one",
        ),
    )
    parts = [count(number, *nouns) for number, *nouns in counts if number]
    gone = sum(one.gone for one in seen.listeners)
    left = f"{count(gone, 'connection')} refused where NEW has no listener any more" if gone else ""
    if not parts and (seen.missing or not gone):
        parts = [_UNSURE if seen.missing else _NOTHING_LOST]
    return ", ".join(filter(None, (*parts, left)))


def _setting(seen: Observed) -> str:
    before, after = seen.workers
    workers = count(after, "worker") if before == after else f"{before} -> {after} workers"
    return f"Envoy {seen.version or '(unknown version)'}, {workers}"


def _answer(seen: Observed) -> str:
    return {
        "nack": "refused, at least in part",
        "ended": "Envoy ended",
        "late": "Envoy did not become ready",
    }.get(seen.answer, "Envoy gave no answer")


def _title(listener: ObservedListener) -> str:
    places = [str(one) for one in dict.fromkeys((*listener.before, *listener.after))]
    return f"{listener.name} ({', '.join(places)})" if places else listener.name


def _rows(listener: ObservedListener) -> Iterator[tuple[str, str]]:
    if listener.words and listener.kind is Kind.REFUSED:
        yield "Envoy says", listener.words
    numbers = f"{listener.kept} kept, {listener.closed} closed, {listener.made} made"
    unread = f"; no worker waits for {listener.unread} of them" if listener.unread else ""
    yield "kernel sockets", numbers + unread
    several = len(listener.places) > 1
    for one in listener.places:
        kind = "" if one.place.protocol in ("TCP", "UNIX") else f"{one.place.protocol} "
        at = f" at {kind}{one.place.address}" if several else ""
        yield from ((f"{name}{at}", words) for name, words in _of_place(listener, one))
    spreads = (("before", listener.spread_before), ("after", listener.spread_after))
    words = [f"{when} {_spread(spread)}" for when, spread in spreads if spread]
    if words:
        yield "over the workers", "; ".join(words)
    if listener.balanced is False:
        yield "exact_balance", "is not in effect: the connections are not even"


def _of_model(report: Report, listener: ObservedListener) -> Iterator[tuple[str, str]]:
    """Yield what a run cannot show by itself: fields that Envoy acknowledges and takes no heed of.

    What it does otherwise than the model says is said by itself.
    """
    change = report.change
    if change is None or any(one.listener == listener.name for one in report.differences):
        return
    for one in change.listeners:
        for reason in one.reasons if one.name == listener.name else ():
            if words := reason_words(change, one, reason):
                yield "by the model", f"{reason.field}: {words}"


def _of_place(listener: ObservedListener, one: ObservedPlace) -> Iterator[tuple[str, str]]:
    if one.queued is not None:
        yield "waited in a queue", _clients(one.queued, "connection")
    if one.held.tried:
        drained = listener.held is Fate.DRAINED
        when = f" {_DRAINED[listener.way]}" if drained else ""
        shown = one.late if drained and one.late.tried else one.held
        yield "were held", f"{_clients(shown)}{when}"
    if one.through.tried:
        yield "came meanwhile", _clients(one.through, "request")
    if one.gap is not None:
        yield "gap in serving", gap_words(one.gap)
    if one.after.tried:
        yield "came afterwards", _clients(one.after, "request")


def _clients(clients: Clients, noun: str = "connection") -> str:
    parts = [f"{number} {end}" for end in _ENDS if (number := getattr(clients, end))]
    if len(parts) == 1:
        return f"{count(clients.tried, noun)}, {parts[0].partition(' ')[2]}"
    return f"{count(clients.tried, noun)}: {', '.join(parts)}"


def gap_words(gap: Gap) -> str:
    """Return a gap in words."""
    words = f"{gap.ms:.0f} ms without an answer"
    if gap.open:
        words = f"no answer any more, for {gap.ms:.0f} ms until the run was over"
    if gap.idle_ms:
        words += f", {gap.idle_ms:.0f} ms of which no client came"
    return f"{words} (usual is one in {gap.pace_ms:.1f} ms)"


def _spread(spread: Spread) -> str:
    numbers = "/".join(map(str, spread.numbers))
    if spread.range is None or spread.chance is None:
        return f"{numbers} (from one queue)"
    low, high = spread.range
    return f"{numbers} (by chance {low} to {high} each; p {spread.chance:.2g})"


def _difference_words(one: Difference) -> str:
    sides = f"model {_value(one.model)}, run {_value(one.run)}"
    return f"differs from the model: {one.listener}: {one.fact}: {sides}"


def _value(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def markdown_lines(reports: Sequence[Report], old: str, new: str) -> list[str]:
    """Return all ways of a change as Markdown, for a pull request."""
    head = ["way", "listener", "what happens", "sockets kept / closed / made"]
    head += ["requests lost", "reset", "refused", "gap in ms"]
    lines = [f"### {inline(old)} → {inline(new)}, tried on Envoy", ""]
    lines += [_row(head), f"|{' --- |' * len(head)}"]
    for report in reports:
        seen = report.observed
        if seen.problem:
            lines.append(_row([_WAYS[seen.way], f"not tried: {seen.problem}", *[""] * 6]))
            continue
        for one in filter(changes, seen.listeners):
            words = f": {one.words}" if one.words else ""
            numbers = f"{one.kept} / {one.closed} / {one.made}"
            refused = f"{one.refused}, and {one.gone} where it is gone" if one.gone else one.refused
            lost = [str(number) for number in (one.lost, one.reset, refused)]
            row = [_WAYS[seen.way], one.name, f"{_KINDS[one.kind]}{words}", numbers, *lost]
            lines.append(_row([*row, _gap_cell(one)]))
    lines.append("")
    for report in reports:
        lines.append(f"- {_WAYS[report.observed.way]}: {inline(summary(report))}")
        more = [_difference_words(one) for one in report.differences]
        more += [f"incomplete: {one}" for one in report.observed.missing]
        lines += [f"  - {inline(text)}" for text in more]
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(inline, cells))} |"


def _gap_cell(listener: ObservedListener) -> str:
    gaps = [one.gap for one in listener.places if one.gap is not None]
    worst = max(gaps, key=lambda gap: (gap.open, gap.ms), default=None)
    if worst is None:
        return ""
    return "no end" if worst.open else f"{worst.ms:.0f}"


def transitions_json(reports: Sequence[Report], old: str, new: str) -> dict[str, Any]:
    """Return all ways of a change as JSON types."""
    return {
        "format": FORMAT,
        "old": old,
        "new": new,
        "result": result_of(reports),
        "transitions": [
            {
                **_plain(one.observed),
                "listeners": [_listener_json(it) for it in one.observed.listeners],
                "result": one.result,
                "differences": _plain(one.differences),
            }
            for one in reports
        ],
    }


def _listener_json(listener: ObservedListener) -> dict[str, Any]:
    found: dict[str, Any] = _plain(listener)
    found.pop("way")
    names = ("queued", "held", "lost", "reset", "refused", "gone", "unanswered", "loses")
    return {**found, **{name: _plain(getattr(listener, name)) for name in names}}


def _plain(value: Any) -> Any:
    if isinstance(value, Address):
        return value.to_json()
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, enum.Enum):
        return value.value
    return [*map(_plain, value)] if isinstance(value, (tuple, list)) else value
