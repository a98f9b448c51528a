"""Whose socket a client reaches who connects to a listener's address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envoyassert.addresses import Address
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.context import Context
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.judge.witness import name_of_stranger, strangers

_ANY_IPV4, _ANY_IPV6 = "0.0.0.0", "::"  # noqa: S104 - compared, never bound


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
    foreign: dict[int, KernelSocket] = {}
    dead: list[Address] = []
    for address in sorted(addresses, key=str):
        reached = _reached(whole.candidates, address, target.sockets)
        foreign |= {socket.number: socket for socket in reached if socket.number not in own}
        if not any(socket.number in own for socket in reached):
            dead.append(address)
    seen_others = _outside(context, addresses, target.sockets)
    witness = context.trace.witness
    network = None if witness is None else witness.network
    unwatched = network is None or not all(network.knows(s.netns) for s in target.sockets)
    parts = []
    if foreign:
        parts.append("another Envoy's socket at " + _names(s.address for s in foreign.values()))
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
    evidence = [
        call.event for socket in (*target.sockets, *foreign.values()) for call in socket.binds
    ]
    yield context.finding(
        subject, status, expected, "; ".join(parts), reason=reason, evidence=evidence
    )


def _names(addresses: object) -> str:
    return ", ".join(sorted({str(address) for address in addresses}))  # type: ignore[attr-defined]


def _reached(
    candidates: list[KernelSocket], address: Address, own: Sequence[KernelSocket]
) -> list[KernelSocket]:
    """Return the sockets that a client of an address may reach.

    Members of a reuseport group share their address (socket(7)). A path belongs to the socket that
    was bound to it last: whoever unlinks it and binds anew takes it from the one before (unix(7)),
    which goes on to listen.
    """
    protocols = {socket.protocol_name for socket in own}
    there = [
        socket
        for socket in candidates
        if socket.binds
        and socket.protocol_name in protocols
        and socket.address is not None
        and _takes_from(address, socket.address, own)
    ]
    if address.path is not None and there:
        there = [max(there, key=lambda socket: socket.binds[-1].event.ts_ns)]
    return [socket for socket in there if socket.is_open_to_clients]


def _takes_from(address: Address, other: Address, own: Sequence[KernelSocket]) -> bool:
    """Whether a socket at another address gets clients of this one.

    Of a wildcard and an address that it covers the kernel takes the latter (Linux,
    net/ipv4/inet_hashtables.c, compute_score()); `::` covers IPv4 as well unless IPV6_V6ONLY is set
    (ipv6(7)).
    """
    if other == address:
        return True
    if not address.is_ip or (other.port, other.netns) != (address.port, address.netns):
        return False
    if address.host == _ANY_IPV4:
        return other.family == "AF_INET"
    if address.host == _ANY_IPV6:
        alone = all(
            any(o.name == "IPV6_V6ONLY" and o.value == 1 for o in socket.options)
            for socket in own
            if socket.address == address
        )
        return other.family == "AF_INET6" or not alone
    return False


def _outside(context: Context, addresses: set[Address], own: Sequence[KernelSocket]) -> list[str]:
    """Return where somebody else than the traced processes takes clients of these addresses."""
    phases = context.trace.phases
    witness = context.trace.witness
    if witness is None:
        return []
    known = {entry.inode for entry in witness.sockets}
    for member in phases[-1].envoys if phases else ():
        if member.witness is not None:
            known |= {entry.inode for entry in member.witness.sockets}
    protocols = {socket.protocol_name for socket in own}
    return [
        name_of_stranger(context.trace, stranger)
        for stranger in strangers(witness)
        if stranger.inode not in known
        and stranger.protocol in protocols
        and stranger.address is not None
        and any(_takes_from(address, stranger.address, own) for address in addresses)
    ]
