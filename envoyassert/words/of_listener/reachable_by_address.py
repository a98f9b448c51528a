"""Whose socket a client reaches who connects to a listener's address."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from envoyassert.addresses import Address
from envoyassert.graph.lookup import takers
from envoyassert.graph.model import KernelSocket
from envoyassert.judge.rivals import Rivals
from envoyassert.judge.target import Target
from envoyassert.judge.verdict import Finding, Status
from envoyassert.words.word import Example, ListenerWord


@dataclass
class _Reached:
    """What clients of a listener's addresses reach beside its own sockets.

    Args:
        foreign: traced sockets of others.
        files: sockets that lost their files.
        words: who is reached instead of it, or that nobody is, in words.
        unclear: why it cannot be told whom some clients reach, in words.
    """

    foreign: list[KernelSocket] = field(default_factory=list)
    files: list[KernelSocket] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def judge_reachable(target: Target, word: str, wanted: bool) -> Iterator[Finding]:
    """Judge whether a listener's address leads to its own sockets alone.

    What the traced processes did is known at every instant; what others did is known by the
    kernel's account at the end of the phase alone, and the answer says so.
    """
    context = target.context
    subject = target.subject.at(word)
    expected = f"{'' if wanted else 'not '}reached by its address"
    addresses = {socket.address for socket in target.sockets if socket.address is not None}
    if not addresses:
        status = Status.INCONCLUSIVE if context.doubt else Status.FAIL
        yield context.finding(subject, status, expected, "no socket was bound")
        return
    reached, rivals = _Reached(), Rivals(context, target.sockets)
    mine = {socket.number for socket in target.sockets}
    for address in sorted(addresses, key=str):
        if address.is_ip:
            _ask_port(reached, rivals, address, mine)
        else:
            _ask_name(reached, rivals, address, mine)
    witness = context.trace.witness
    network = None if witness is None else witness.network
    unwatched = network is None or not all(network.knows(s.netns) for s in target.sockets)
    status = Status.PASS if (not reached.words) is wanted else Status.FAIL
    reason = ""
    if context.doubt:
        status = Status.INCONCLUSIVE
    elif reached.unclear and not reached.words:
        status, reason = Status.INCONCLUSIVE, "; ".join(reached.unclear)
    elif not reached.words and unwatched:
        status, reason = Status.INCONCLUSIVE, "who else is in this network was not looked at"
    observed = "; ".join(reached.words) or "its own sockets alone, at this instant"
    evidence = [
        call.event for socket in (*target.sockets, *reached.foreign) for call in socket.binds
    ]
    evidence += [socket.file_event for socket in reached.files if socket.file_event is not None]
    yield context.finding(
        subject,
        status,
        expected,
        "not known" if reached.unclear and not reached.words else observed,
        reason=reason,
        evidence=evidence,
    )


def _names(addresses: Iterable[object]) -> str:
    return ", ".join(sorted({str(address) for address in addresses}))


def _ask_port(reached: _Reached, rivals: Rivals, address: Address, mine: set[int]) -> None:
    """Ask whom the clients of an IP address reach, by the kernel's own rules."""
    instead: dict[str, list[str]] = defaultdict(list)
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
            reached.unclear.append(
                f"whether clients of {place} reach it or {whose} depends on their order and on "
                "SO_REUSEPORT, which are not known"
            )
        else:
            instead[whose].append(place)
            reached.foreign += rivals.sockets(others)
    reached.words += [
        f"clients of {_names(places)} reach {whose}, at this instant"
        for whose, places in instead.items()
    ]
    if dead:
        reached.words.append(f"none of its sockets is reached at {address}")


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
        | {holder for holder, one in rivals.strangers.items() if one.address == address}
    )
    if whose:
        reached.foreign += foreign
        reached.words.append(f"clients of {address} reach {whose}, at this instant")
    if len(foreign) == len(found):
        reached.words.append(f"none of its sockets is reached at {address}")
        reached.files += [s for s in own if s.file_event is not None and s not in found]
        changes = sorted({socket.file_change for socket in reached.files})
        reached.words += [f"its file was {change}" for change in changes]
    for doubt in {id(s.file_doubt): s.file_doubt for s in own if s.file_doubt}.values():
        reached.unclear.append(f"{doubt.call} of a file with the same name, maybe this one")


WORD = ListenerWord(
    name="reachable_by_address",
    form=bool,
    description=(
        "Whether whoever connects to its address reaches one of its sockets, and "
        "nobody else's: no other socket took the path of a Unix socket, shares the port, or is "
        "preferred by the kernel (an IPv4 socket beside a v4-mapped one, an address beside a "
        "wildcard, a device), and nobody removed, renamed or replaced the file. Of a wildcard each "
        "address that it covers counts."
    ),
    judge=judge_reachable,
    example=Example("reachable_by_address: true", "alone", "beside_a_stranger"),
)
