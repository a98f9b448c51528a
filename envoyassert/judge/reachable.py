"""Whose socket a client reaches who connects to a listener's address."""

from __future__ import annotations

from collections.abc import Iterator

from envoyassert.addresses import Address
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.context import Context
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.judge.witness import name_of_stranger, strangers


def judge_reachable(target: Target, word: str, wanted: bool) -> Iterator[Finding]:
    """Judge whether a listener's address leads to its own sockets alone.

    What the traced processes did is known at every instant; what others did is known by the
    kernel's account at the end of the phase alone, and the answer says so.
    """
    context = target.context
    subject = target.subject.at(word)
    expected = f"{'' if wanted else 'not '}reached by its address"
    own = {socket.number for socket in target.sockets}
    addresses = {socket.address for socket in target.sockets if socket.address is not None}
    if not addresses:
        status = Status.INCONCLUSIVE if context.doubt else Status.FAIL
        yield context.finding(subject, status, expected, "no socket was bound")
        return
    whole = context.whole or context.graph
    foreign: list[KernelSocket] = []
    dead: list[Address] = []
    for address in sorted(addresses, key=str):
        reached = _reached(whole.candidates, address)
        foreign += [socket for socket in reached if socket.number not in own]
        if not any(socket.number in own for socket in reached):
            dead.append(address)
    seen_others = _outside(context, addresses)
    unwatched = context.trace.witness is None or context.trace.witness.network is None
    parts = []
    if foreign:
        parts.append("another Envoy's socket at " + _names(s.address for s in foreign))
    if dead:
        parts.append("none of its sockets is reached at " + _names(dead))
    if seen_others:
        parts.append("at this instant a stranger is at " + _names(seen_others))
    reachable = not parts
    if not parts:
        parts.append("its own sockets alone, at this instant")
    status = Status.PASS if reachable is wanted else Status.FAIL
    reason = ""
    if context.doubt:
        status = Status.INCONCLUSIVE
    elif reachable and unwatched:
        status, reason = Status.INCONCLUSIVE, "who else is in this network was not looked at"
    evidence = [call.event for socket in (*target.sockets, *foreign) for call in socket.binds]
    yield context.finding(
        subject, status, expected, "; ".join(parts), reason=reason, evidence=evidence
    )


def _names(addresses: object) -> str:
    return ", ".join(sorted({str(address) for address in addresses}))  # type: ignore[attr-defined]


def _reached(candidates: list[KernelSocket], address: Address) -> list[KernelSocket]:
    """Return the sockets that a client of an address may reach.

    Members of a reuseport group share their address (socket(7)). A path belongs to the socket that
    was bound to it last: whoever unlinks it and binds anew takes it from the one before (unix(7)),
    which goes on to listen.
    """
    there = [socket for socket in candidates if socket.address == address and socket.binds]
    if address.path is not None and there:
        there = [max(there, key=lambda socket: socket.binds[-1].event.ts_ns)]
    return [socket for socket in there if socket.is_open_to_clients]


def _outside(context: Context, addresses: set[Address]) -> list[str]:
    """Return the addresses at which somebody else than the traced processes takes clients."""
    phases = context.trace.phases
    witness = context.trace.witness
    if witness is None:
        return []
    own = {entry.inode for entry in witness.sockets}
    for member in phases[-1].envoys if phases else ():
        if member.witness is not None:
            own |= {entry.inode for entry in member.witness.sockets}
    return [
        name_of_stranger(context.trace, socket)
        for socket in strangers(witness)
        if socket.address in addresses and socket.inode not in own
    ]
