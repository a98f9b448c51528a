"""The table of changes as Markdown: predicted, observed, lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoyassert.predict.effects import Fate, Kind, ListenerChange
from envoyassert.report.github_text import inline
from envoyassert.transition.clients import Clients
from envoyassert.transition.observed import ObservedListener
from envoyassert.transition.outcome import Report
from tests.transitions.changes import CASES
from tests.transitions.pool import Tried

_KINDS = {
    Kind.SAME: "nothing",
    Kind.ADDED: "new",
    Kind.REMOVED: "removed",
    Kind.IN_PLACE: "in place",
    Kind.FULL_KEPT: "same sockets",
    Kind.FULL_NEW: "new sockets",
    Kind.DROPPED: "given up",
    Kind.REFUSED: "refused",
    Kind.ENDS_ENVOY: "Envoy does not come up",
    Kind.UNKNOWN: "unknown",
}
_SAID = (Fate.HANDED_OVER, Fate.DRAINED, Fate.RESET, Fate.SOME_RESET, Fate.UNSERVED)
_HEAD = ("change", "way", "Envoy", "predicted", "observed", "waiting", "held", "lost", "gap, ms")
_INTRODUCTION = """\
# Transitions

What happens to a running Envoy when a listener, or what decides about its sockets, is changed: by a
push over LDS, a hot restart, a restart. Each change was really made, with clients on every address,
as `envoyassert plan --transition` does it ([comparing.md](comparing.md)). `make transitions` writes
this page. There is one listener and two workers where nothing else is said.

- *predicted*: what the model says. *observed*: what kernel and clients saw. Numbers are kernel
  sockets kept / closed / made. A semicolon is between two listeners.
- *waiting*: connections in the accept queues when the change is made.
- *held*: connections that were accepted before. *drained*: closed when the drain time was over, or
  when the old epoch ended.
- *lost*: requests that were sent and never answered, and connections that were refused at an
  address that both have. What waits in queues is not counted again.
- *gap*: the longest time without an answer in ms, where requests come every 5 ms. It is of this
  machine. Of a restart most of it is the start of the second Envoy.
"""


def markdown(tried: Sequence[Tried], versions: Sequence[str]) -> str:
    """Return the whole document.

    Args:
        tried: all changes.
        versions: of Envoy.
    """
    first = [case for case in CASES if case.why]
    lines = [_INTRODUCTION, "## What to look at first", ""]
    lines += [f"- {case.why} (*{case.name}*)." for case in first]
    lines += ["", "## All", "", f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}"]
    lines += rows(tried, versions)
    differ = [*different(tried)]
    lines += ["", "## Where model and run differ", ""]
    lines += differ or ["Nowhere."]
    return "\n".join(lines) + "\n"


def rows(tried: Sequence[Tried], versions: Sequence[str]) -> Iterator[str]:
    """Yield a row for each change and way; two where the versions differ."""
    named = ""
    keys = dict.fromkeys((one.case, one.way) for one in tried)
    for case, way in keys:
        mine = [one for one in tried if (one.case, one.way) == (case, way)]
        groups: dict[tuple[str, ...], list[Tried]] = {}
        for one in mine:
            groups.setdefault(_facts(one), []).append(one)
        for facts, group in groups.items():
            which = ", ".join(one.version for one in group)
            name = CASES[case].name
            cells = [
                "" if name == named else name,
                way.value,
                "all" if len(group) == len(versions) else which,
                *facts,
                " / ".join(dict.fromkeys(_lost(one.report) for one in group)),
                " / ".join(_gap(one.report) for one in group),
            ]
            named = name
            yield f"| {' | '.join(map(inline, cells))} |"


def different(tried: Sequence[Tried]) -> Iterator[str]:
    """Yield where model and run differ, and what could not be tried."""
    for one in tried:
        where = f"{CASES[one.case].name}, {one.way.value}, Envoy {one.version}"
        if one.report is None:
            yield f"- {inline(f'{where}: not tried: {one.problem}')}"
            continue
        seen = one.report.observed
        lacks = [seen.problem] if seen.problem else [*seen.missing]
        yield from (f"- {inline(f'{where}: {text}')}" for text in lacks)
        for fact in one.report.differences:
            sides = f"{fact.fact}: model {fact.model}, run {fact.run}"
            yield f"- {inline(f'{where}: {fact.listener}: {sides}')}"


def _facts(one: Tried) -> tuple[str, ...]:
    report = one.report
    if report is None or report.observed.problem:
        return ("", "not tried", "", "")
    listeners = report.observed.listeners
    order = [listener.name for listener in listeners]
    known = {one.name: one for one in report.change.listeners} if report.change else {}
    model = [known[name] for name in order if name in known]
    return (
        "; ".join(map(_predicted, model)),
        "; ".join(map(_observed, listeners)),
        "; ".join(filter(None, (_waiting(it) for it in listeners))),
        "; ".join(filter(None, (_held(it) for it in listeners))),
    )


def _predicted(one: ListenerChange) -> str:
    words = _kind(one.kind, (one.kept + one.left, one.closed, one.made))
    if one.kind not in (Kind.ENDS_ENVOY, Kind.REMOVED) and one.after and one.served is False:
        words += ", not served"
    ineffective = [reason.field for reason in one.reasons if reason.in_effect is False]
    if ineffective and one.kind is not Kind.REFUSED:
        words += ", not in effect"
    both = (("waiting", one.queued), ("held", one.held)) if one.protocol != "UDP" else ()
    fates = [f"{what} {fate.value.replace('_', ' ')}" for what, fate in both if fate in _SAID]
    return ", ".join([words, *fates])


def _observed(one: ObservedListener) -> str:
    words = _kind(one.kind, (one.kept, one.closed, one.made))
    if one.unanswered and one.kind is not Kind.ENDS_ENVOY:
        words += ", not served"
    elif one.unread:
        words += f", {one.unread} of them unread"
    return f"{words}, not in effect" if one.balanced is False else words


def _kind(kind: Kind, numbers: tuple[int, int, int]) -> str:
    return f"{_KINDS[kind]} {'/'.join(map(str, numbers))}"


def _waiting(one: ObservedListener) -> str:
    queued = [place.queued for place in one.places if place.queued is not None]
    return _share(sum(queued, Clients()))


def _held(one: ObservedListener) -> str:
    if one.held in (Fate.DRAINED, Fate.RESET):
        return "drained" if one.held is Fate.DRAINED else "closed"
    clients = [place.held for place in one.places]
    return _share(sum(clients, Clients()))


def _share(clients: Clients) -> str:
    """Return how they ended, without numbers that chance decides."""
    ends = {name: getattr(clients, name) for name in ("answered", "closed", "reset", "silent")}
    ends["refused"] = clients.refused
    found = [name for name, number in ends.items() if number]
    return found[0] if len(found) == 1 else ", ".join(f"some {name}" for name in found)


def _lost(report: Report | None) -> str:
    if report is None or report.observed.problem:
        return ""
    listeners = report.observed.listeners
    lost = any(one.lost for one in listeners)
    refused = any(one.refused for one in listeners)
    return ", ".join([*(["requests"] if lost else []), *(["refused"] if refused else [])]) or "none"


def _gap(report: Report | None) -> str:
    if report is None:
        return ""
    gaps = [p.gap for one in report.observed.listeners for p in one.places if p.gap is not None]
    if not gaps:
        return "-"
    if any(gap.open for gap in gaps):
        return "no end"
    return str(round(max(gap.ms - gap.idle_ms for gap in gaps)))
