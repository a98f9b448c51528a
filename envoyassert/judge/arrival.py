"""Judge where served sockets come from, and how they stand in the epolls."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.graph.model import KernelSocket, Registration
from envoyassert.judge.context import UNKNOWN_WORKERS
from envoyassert.judge.interval import plural
from envoyassert.judge.shape import root_of
from envoyassert.judge.tally import how_many
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.expectation import Origin, Registered

_UNOBSERVED = "epoll was not observed"


def judge_origin(target: Target, word: str, value: Origin) -> Iterator[Finding]:
    """Judge how many of the sockets that are served were made, and how many were passed on."""
    context = target.context
    if context.by_listen:
        subject = target.subject.at(word)
        expected = "an origin of the sockets that are served"
        yield context.finding(
            subject, Status.INCONCLUSIVE, expected, "not known", reason=_UNOBSERVED
        )
        return
    groups: dict[str, dict[KernelSocket, bool]] = {"created": {}, "inherited": {}}
    others: set[str] = set()
    for entry in target.serving:
        root = root_of(entry.descriptor)
        if root.origin == "socket":
            groups["created"][root.socket] = entry.certain
        elif root.origin == "scm_rights":
            groups["inherited"][root.socket] = entry.certain
        else:
            others.add(root.origin)
    unknown = f"some sockets came by {', '.join(sorted(others))}" if others else ""
    for name, sockets in groups.items():
        wish = getattr(value, name)
        if wish is None:
            continue
        wanted = context.wish(wish)
        possible = context.interval(sum(sockets.values()), len(sockets))
        status = Status.INCONCLUSIVE
        if wanted is not None and not unknown:
            status = possible.compare(wanted)
        yield context.finding(
            target.subject.at(word, name),
            status,
            f"{'a count of' if wanted is None else how_many(wanted, 'socket')} {name} and served",
            f"{plural(len(sockets), 'socket')} {name} and served",
            reason=UNKNOWN_WORKERS if wanted is None else unknown,
            evidence=[socket.born for socket in sockets],
        )


def judge_registered(
    target: Target, word: str, value: Registered | tuple[str, ...]
) -> Iterator[Finding]:
    """Judge the masks of the registrations through which a listener is served."""
    context, mask = target.context, value
    if isinstance(mask, tuple):
        mask = Registered(events=mask)
    found = [
        registration
        for socket in target.sockets
        if socket.is_open_to_clients
        for registration in socket.live_registrations()
        if registration.wakes
    ]
    for part, expected in (("events", mask.events), ("trigger", mask.trigger)):
        if expected is None:
            continue
        wrong = [entry for entry in found if not _has(entry, part, expected)]
        sure = any(e.certain and e.descriptor.tainted_ns is None for e in wrong)
        if context.by_listen:
            status = Status.INCONCLUSIVE
        elif sure or (not context.doubt and (wrong or not found)):
            status = Status.FAIL
        else:
            status = Status.INCONCLUSIVE if context.doubt else Status.PASS
        subject = target.subject.at(word, *(() if isinstance(value, tuple) else (part,)))
        masks = dict.fromkeys(", ".join(entry.events) for entry in found)
        words = f"{part} {expected if isinstance(expected, str) else ', '.join(expected)}"
        yield context.finding(
            subject,
            status,
            f"registered with {words}",
            f"registered with {' and '.join(masks)}" if masks else "nobody serves it",
            reason=_UNOBSERVED if context.by_listen else "",
            evidence=[entry.added.event for entry in wrong or found],
        )


def _has(entry: Registration, part: str, expected: str | tuple[str, ...]) -> bool:
    if part == "events":
        return set(entry.events) == set(expected)
    return ("EPOLLET" in entry.events) is (expected == "edge")
