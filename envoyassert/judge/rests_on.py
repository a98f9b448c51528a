"""What an expectation rests on, and what of it must not pass since that was not compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from envoyassert.events import Event
from envoyassert.judge.calls import matching
from envoyassert.judge.context import Context, StackMatch
from envoyassert.judge.selection import select
from envoyassert.judge.values import Fact, Quote
from envoyassert.judge.verdict import Finding, Status
from envoyassert.scenario.conditional import Conditional
from envoyassert.scenario.grammar import models_in
from envoyassert.scenario.pattern import CallPattern
from envoyassert.scenario.selector import Selector
from envoyassert.words.about_listener import AboutListener
from envoyassert.words.registry import word_of


def held_back(
    context: Context, item: Conditional, findings: Iterable[Finding]
) -> Iterator[Finding]:
    """Yield findings, with no PASS that rests on what the kernel's account did not settle.

    Args:
        context: the scope in which they were found.
        item: the expectation that they are about.
        findings: what was found.
    """
    reason = _reason(context, item) if context.uncompared else None
    for finding in findings:
        if reason and finding.status is Status.PASS:
            yield replace(finding, status=Status.INCONCLUSIVE, reason=reason)
        else:
            yield finding


def _reason(context: Context, item: Conditional) -> Fact | None:
    if word_of(item).sockets == "none":
        return None
    open_ = context.uncompared
    selectors = list(models_in(item, Selector))
    anywhere = any(part.listener is None for part in models_in(item, CallPattern))
    if not selectors or (anywhere and not isinstance(item, AboutListener)):
        return _uncompared(next(iter(open_.values())))
    listeners = context.trace.header.listeners
    for selector in selectors:
        selection = select(selector, context.graph, listeners, total=True)
        failed = [call.descriptor.socket for call in selection.failed if call.descriptor]
        for socket in (*selection.sockets, *failed):
            if socket.number in open_:
                return _uncompared(open_[socket.number])
    return None


def _uncompared(why: str) -> Fact:
    return Fact("uncompared", said=Quote(why))


def with_stacks(
    context: Context, item: Conditional, findings: Sequence[Finding]
) -> Iterator[Finding]:
    """Say of findings that are INCONCLUSIVE for lack of a stack why; skip those without symbols.

    Args:
        context: the scope in which they were found.
        item: the expectation that they are about.
        findings: all of its findings.
    """
    open_ = any(finding.status is Status.INCONCLUSIVE for finding in findings)
    known = context.doubt or context.untrusted or context.unobserved
    unknown = list(_unknown_stacks(context, item)) if open_ and not known else []
    for finding in findings:
        if not unknown or finding.status is not Status.INCONCLUSIVE:
            yield finding
        elif all(match.skipped for match in unknown):
            yield replace(finding, status=Status.SKIPPED, reason=unknown[0].reason)
        else:
            yield replace(finding, reason=next(m.reason for m in unknown if not m.skipped))


def _unknown_stacks(context: Context, item: Conditional) -> Iterator[StackMatch]:
    """Yield what is not known of the stacks of the calls that an expectation may be about."""
    patterns = [part for part in models_in(item, CallPattern) if part.stack is not None]
    if not patterns:
        return
    among: list[list[Event] | None] = [None]
    if isinstance(item, AboutListener):
        # What it says of calls, it says of those of each of its sockets.
        listeners = context.trace.header.listeners
        sockets = select(item.listener, context.graph, listeners, total=True).sockets
        among = [[call.event for call in socket.calls] for socket in sockets]
    for events in among:
        for pattern in patterns:
            yield from matching(context, pattern, events).unknown
