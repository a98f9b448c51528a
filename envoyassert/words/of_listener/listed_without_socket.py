"""Addresses that Envoy's admin endpoint lists though no kernel socket is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from envoyassert.fact import Fact, Quote
from envoyassert.judge.verdict import Status
from envoyassert.scenario.conditional import AboutListener, Conditional
from envoyassert.scenario.selector import Selector
from envoyassert.words.word import Example, ListenerWord, every_answer

if TYPE_CHECKING:
    from envoyassert.judge.target import Target
    from envoyassert.judge.verdict import Finding
    from envoyassert.trace import Trace


def unbacked(
    trace: Trace,
    items: Sequence[Conditional],
    phases: Collection[str],
    envoys: Collection[str | None],
) -> tuple[Selector, ...]:
    """Return the listeners that a scenario states to be listed without a socket.

    Args:
        trace: the trace, for the version of its Envoy.
        items: all expectations; each that states it is judged for itself.
        phases: the phases that have ended.
        envoys: the names of the Envoy that is asked about, None for an item that names none.
    """
    from envoyassert.versions import satisfies

    version = trace.header.envoy.version
    return tuple(
        item.listener
        for item in items
        if isinstance(item, AboutListener)
        and item.said("listed_without_socket")
        and item.phase in phases
        and item.envoy in envoys
        and (not item.versions or (bool(version) and satisfies(version, item.versions)))
    )


def judge_listed(target: Target, word: str, wanted: bool) -> Iterator[Finding]:
    """Judge whether Envoy lists every address that is meant, and none has a socket."""
    from envoyassert.judge.context import NOT_KNOWN
    from envoyassert.judge.port_zero import listed_places, lists_namespaces
    from envoyassert.judge.selection import means

    context = target.context
    subject = target.subject.at(word)
    expected = Fact("listed_without_socket", wanted=wanted)
    witness = context.trace.witness
    account = None if witness is None else witness.envoy
    if account is None or account.error:
        reason = Fact("envoy_not_asked")
        if account is not None:
            reason = Fact("envoy_account", said=Quote(account.error))
        yield context.finding(subject, Status.INCONCLUSIVE, expected, NOT_KNOWN, reason=reason)
        return
    namespaces = lists_namespaces(account)
    if target.selector.namespace and not namespaces:
        reason = Fact("namespaces_not_said")
        yield context.finding(subject, Status.INCONCLUSIVE, expected, NOT_KNOWN, reason=reason)
        return
    listed = {
        address
        for listener in account.listeners
        for address in listener.addresses
        if means(target.selector, listener.name, address)
    }
    if len(target.addresses) == 1:  # one of several, if each is judged by itself
        (only,) = target.addresses
        at_it = {p for s in target.sockets for p in listed_places(s, namespaces)}
        at_it.add(only if namespaces else only.within(""))
        listed &= at_it
    places = tuple(sorted(map(str, listed)))
    there = [
        socket
        for socket in context.graph.candidates
        if (socket in target.sockets or socket.protocol_name == "unknown")
        and listed & listed_places(socket, namespaces)
    ]
    still = [s for s in there if any(descriptor.is_open for descriptor in s.descriptors)]
    doubt = context.doubt
    if not listed:
        seen, is_so, doubt = Fact("not_listed"), False, None
    elif still:
        seen, is_so = Fact("listed", places=places, socket=True), False
    else:
        ends = [descriptor.closed_ns or 0 for socket in there for descriptor in socket.descriptors]
        if max(ends, default=0) > account.begun_ns:
            doubt = doubt or Fact("closed_after_asked")
        seen, is_so = Fact("listed", places=places, socket=False), True
    status = Status.PASS if is_so is wanted else Status.FAIL
    yield context.finding(
        subject,
        Status.INCONCLUSIVE if doubt else status,
        expected,
        seen,
        reason=doubt,
        evidence=[call.event for socket in still for call in socket.binds],
    )


def _misfit(selector: Selector) -> str:
    if selector.socket is None:
        return ""
    return "listed_without_socket is about an address; give the listener's name or port"


WORD = ListenerWord(
    name="listed_without_socket",
    form=bool,
    description=(
        "Whether Envoy's admin endpoint lists its address though no kernel socket is "
        "there, at the end of the phase. Where it is stated to be so, that difference between "
        "Envoy's account and the trace is expected from then on: it takes no PASS from other "
        "expectations."
    ),
    judge=judge_listed,
    misfit=_misfit,
    fitting={"not": {"required": ["socket"]}},
    example=Example("listed_without_socket: true", "listed", "listed_and_served"),
    of_state=every_answer,
)
