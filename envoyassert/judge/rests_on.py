"""What an expectation rests on, and what of it must not pass since that was not compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from envoyassert.judge.context import Context
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
