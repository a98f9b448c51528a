"""Whose socket a client reaches who connects to a listener's address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envoyassert.addresses import Address
from envoyassert.fact import Fact
from envoyassert.judge.verdict import Status
from envoyassert.words.word import Example, ListenerWord

if TYPE_CHECKING:
    from envoyassert.graph.model import KernelSocket
    from envoyassert.judge.rivals import Rivals
    from envoyassert.judge.target import Target
    from envoyassert.judge.values import Reason
    from envoyassert.judge.verdict import Finding


@dataclass
class _Reached:
    """What clients of a listener's addresses reach beside its own sockets.

    Args:
        foreign: traced sockets of others.
        files: sockets that lost their files.
        instead: who is reached instead of it, or that no socket is.
        unclear: why it is not known whom some clients reach.
    """

    foreign: list[KernelSocket] = field(default_factory=list)
    files: list[KernelSocket] = field(default_factory=list)
    instead: list[Fact] = field(default_factory=list)
    unclear: list[Fact] = field(default_factory=list)


def judge_reachable(target: Target, word: str, wanted: bool) -> Iterator[Finding]:
    """Judge whether a listener's address leads to its own sockets alone.

    What the traced processes did is known at every instant; what others did is known by the
    kernel's account at the end of the phase alone, and the answer says so.
    """
    from envoyassert.judge.context import NO_SOCKET, NOT_KNOWN
    from envoyassert.judge.rivals import Rivals
    from envoyassert.judge.values import both
    from envoyassert.state import is_state

    context = target.context
    subject = target.subject.at(word)
    expected = Fact("reached_by_address", wanted=wanted)
    addresses = {socket.address for socket in target.sockets if socket.address is not None}
    if not addresses:
        status = Status.INCONCLUSIVE if context.doubt else Status.FAIL
        yield context.finding(subject, status, expected, NO_SOCKET)
        return
    reached, rivals = _Reached(), Rivals(context, target.sockets)
    mine = {socket.number for socket in target.sockets}
    for address in sorted(addresses, key=str):
        if address.is_ip:
            _ask_port(reached, rivals, address, mine)
        else:
            _ask_name(reached, rivals, address, mine)
            if address.path is not None and is_state(context.trace.header.unobserved):
                reached.unclear.append(Fact("file_not_looked_at"))
    witness = context.trace.witness
    network = None if witness is None else witness.network
    unwatched = network is None or not all(network.knows(s.netns) for s in target.sockets)
    status = Status.PASS if (not reached.instead) is wanted else Status.FAIL
    reason: Reason | None = None
    if context.doubt:
        status = Status.INCONCLUSIVE
    elif reached.unclear and not reached.instead:
        status, reason = Status.INCONCLUSIVE, both(reached.unclear)
    elif not reached.instead and unwatched:
        status, reason = Status.INCONCLUSIVE, Fact("network_not_looked_at")
    observed = both(reached.instead) if reached.instead else Fact("own_sockets_alone")
    evidence = [
        call.event for socket in (*target.sockets, *reached.foreign) for call in socket.binds
    ]
    evidence += [socket.file_event for socket in reached.files if socket.file_event is not None]
    yield context.finding(
        subject,
        status,
        expected,
        NOT_KNOWN if reached.unclear and not reached.instead else observed,
        reason=reason,
        evidence=evidence,
    )


def _ask_port(reached: _Reached, rivals: Rivals, address: Address, mine: set[int]) -> None:
    """Ask whom the clients of an IP address reach, by the kernel's own rules."""
    from envoyassert.graph.lookup import takers

    instead: dict[tuple[Fact, ...], list[str]] = defaultdict(list)
    clients = list(rivals.clients_of(address))
    dead = not clients
    for client in clients:
        cases = takers(client, rivals.candidates)
        others = frozenset[Hashable]().union(*cases) - mine
        dead = dead or frozenset() in cases
        if not others:
            continue
        place = f"{client.address} by {client.device}" if client.device else str(client.address)
        whose = rivals.names(others)
        if any(case and case <= mine for case in cases):
            reached.unclear.append(Fact("order_decides", place=place, others=whose))
        else:
            instead[whose].append(place)
            reached.foreign += rivals.sockets(others)
    reached.instead += [
        Fact("clients_reach", places=tuple(sorted(set(places))), others=whose)
        for whose, places in instead.items()
    ]
    if dead:
        reached.instead.append(Fact("none_reached", place=str(address)))


def _ask_name(reached: _Reached, rivals: Rivals, address: Address, mine: set[int]) -> None:
    """Ask whom the clients of a Unix socket reach.

    A path leads to the socket whose file is there (`graph.socket_files`); one that lost its file
    goes on to listen.
    """
    there = rivals.bound_to(address)
    own = [socket for socket in there if socket.number in mine]
    if address.path is not None:
        there = rivals.at_path(address.path)
    found = [socket for socket in there if socket.is_open_to_clients]
    foreign = [socket for socket in found if socket.number not in mine]
    whose = rivals.names(
        frozenset(socket.number for socket in foreign)
        | {holder for holder, one in rivals.foreign.items() if one.address == address}
    )
    if whose:
        reached.foreign += foreign
        reached.instead.append(Fact("clients_reach", places=(str(address),), others=whose))
    if len(foreign) == len(found):
        reached.instead.append(Fact("none_reached", place=str(address)))
        reached.files += [s for s in own if s.file_event is not None and s not in found]
        changes = sorted({socket.file_change for socket in reached.files})
        reached.instead += [Fact("its_file", change=change) for change in changes]
    for doubt in {id(s.file_doubt): s.file_doubt for s in own if s.file_doubt}.values():
        reached.unclear.append(Fact("maybe_this_file", call=doubt.call))


def _of_state(_: tuple[object, ...], wanted: bool) -> tuple[Status, ...]:
    """A socket of its that was closed may have been at another address."""
    return (Status.FAIL,) if wanted else (Status.PASS,)


WORD = ListenerWord(
    name="reachable_by_address",
    form=bool,
    description=(
        "Whether whoever connects to its address reaches one of its sockets, and no other. No "
        "other socket took the path of a Unix socket, shares the port, or is preferred by the "
        "kernel: an IPv4 socket beside a v4-mapped one, an address beside a wildcard, a device. "
        "No process removed, renamed or replaced the file. Of a wildcard each address that it "
        "covers counts."
    ),
    judge=judge_reachable,
    example=Example("reachable_by_address: true", "alone", "beside_a_foreign_socket"),
    of_state=_of_state,
)
