"""Sockets that a process has, or had, of which nothing is known: passed on by SCM_RIGHTS.

Whoever is not traced may listen, accept, set options or close there, and nothing would show. So
what an expectation says of such a socket is seen for certain or left open, as after a loss. A
process that is traced (the parent of a hot restart) is known, and leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from envoyassert.events import Event
from envoyassert.graph.model import KernelSocket
from envoyassert.graph.passes import Pass
from envoyassert.judge.context import Context
from envoyassert.judge.selection import select
from envoyassert.judge.values import Fact, both
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import models_in
from envoyassert.scenario.selector import Selector
from envoyassert.words.registry import word_of


def passed_outside(context: Context, item: Conditional) -> list[tuple[KernelSocket, Pass]]:
    """Return the sockets that an expectation is about and that others have or had, and how.

    A socket that came from outside and of which no address is known may be one of any listener.
    """
    candidates = context.graph.candidates
    if not any(handed.is_outside for socket in candidates for handed in socket.passes):
        return []
    if word_of(item).sockets == "every":
        meant = [s for s in candidates if s.places or s.listens or s.origin == "scm_rights"]
    else:
        selectors = list(models_in(item, Selector))
        if not selectors:
            return []
        listeners = context.trace.header.listeners
        chosen = [select(one, context.graph, listeners, total=True) for one in selectors]
        meant = [socket for selection in chosen for socket in selection.sockets]
        meant += [s for s in candidates if s.origin == "scm_rights" and not s.places]
    return [
        (socket, handed)
        for socket in dict.fromkeys(meant)
        for handed in socket.passes
        if handed.is_outside
    ]


def in_doubt(context: Context, outside: Iterable[tuple[KernelSocket, Pass]]) -> Context:
    """Return a context in which what others may have done is in doubt."""
    reasons = dict.fromkeys(_reason(socket, handed) for socket, handed in outside)
    if not reasons or context.doubt:
        return context
    return replace(context, doubt=both(list(reasons)))


def with_passes(finding: Finding, outside: Iterable[tuple[KernelSocket, Pass]]) -> Finding:
    """Return a finding that is left open with the messages that handed its sockets on."""
    events = [event for _, handed in outside if (event := _event_of(handed)) is not None]
    if finding.status is not Status.INCONCLUSIVE or not events:
        return finding
    evidence = [event for event in finding.evidence if all(event is not one for one in events)]
    evidence = sorted([*evidence, *events], key=lambda event: event.ts_ns)
    return replace(finding, evidence=tuple(evidence))


def _event_of(handed: Pass) -> Event | None:
    return handed.sent or handed.received


def _reason(socket: KernelSocket, handed: Pass) -> Fact:
    address = None if socket.address is None else str(socket.address)
    if handed.received is not None:
        return Fact("received_from_outside", address=address)
    return Fact("sent_outside", address=address)
